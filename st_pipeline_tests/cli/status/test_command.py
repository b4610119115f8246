"""`st-pipeline sync-status`: the table, its filters, and figures that are what the log says."""

from datetime import UTC, datetime

import pytest

from st_pipeline.cli.status.table import SHORT
from st_pipeline_tests.cli.conftest import Command, assert_refused
from st_pipeline_tests.cli.installation import CTRL_C, Installation, widest

KEYS = {
    "id", "tenant", "company", "environment", "sync_type", "mode", "data_type", "status", "started_at", "completed_at",
    "seconds", "records_processed", "records_successful", "records_failed", "records_created", "records_updated",
    "records_unchanged", "records_deleted", "records_expected", "message", "sync_id", "dagster_run_id",
}  # fmt: skip


@pytest.fixture
def history(installation: Installation) -> Installation:
    """Syncs of three tenants, one failed, one two days old, one running; and polls to come."""
    installation.add("acme-plumbing", "acme-plumbing@integration", "birch", customers=0, invoices=4)
    installation.synced("birch", only=("tag_types",))
    installation.change(
        # From ten to eleven, whatever the time is now: a sync over midnight has its day in the table, too.
        "UPDATE servicetitan_sync_logs SET started_at = date_trunc('day', now(), 'UTC') - interval '38 hours', "
        "completed_at = date_trunc('day', now(), 'UTC') - interval '37 hours', duration_seconds = 3600"
    )
    installation.synced("acme-plumbing", data_type="invoices")
    installation.sources["acme-plumbing@integration"].fault("status", status=404, entity="job_types")
    installation.synced("acme-plumbing@integration", only=("tag_types", "job_types"))
    return installation


def ids(answer: dict) -> list[str]:
    """The tenants shown."""
    return [sync["tenant"] for sync in answer["syncs"]]


def test_each_filter_shows_its_syncs(history: Installation, command: Command):
    def shown(*arguments: str) -> list[str]:
        said = command("sync-status", "--json", *arguments)
        assert said.code == 0, said.all
        return ids(said.json)

    assert shown() == ["acme-plumbing@integration", "acme-plumbing", "birch"]
    assert shown("--limit", "1") == ["acme-plumbing@integration"]
    assert shown("-c", "birch", "--company", "acme-plumbing", "-e", "production") == ["acme-plumbing", "birch"]
    assert shown("--failed-only") == shown("-f") == ["acme-plumbing@integration"]
    assert shown("--last-24h") == ["acme-plumbing@integration", "acme-plumbing"]
    assert shown("--since", datetime.now(UTC).date().isoformat(), "-c", "birch") == []
    assert shown("--running-only") == []
    assert shown("--each-tenant", "--limit", "1") == ["acme-plumbing", "acme-plumbing@integration", "birch"]
    assert shown("--each-tenant", "-f") == ["acme-plumbing@integration"]
    with history.held("birch"):
        assert shown("-r") == shown("--each-tenant", "-r") == ["birch"]
        assert shown("--each-tenant", "-c", "birch", "--last-24h") == ["birch"]  # the newer one


def test_the_table_and_its_figures_fit_80_columns(history: Installation, command: Command):
    command("tenants", "schedule", "acme-plumbing", "--every", "1440")
    command("tenants", "pause", "birch", "--because", "moves house")
    history.change("UPDATE servicetitan_sync_logs SET records_processed = 1234567, records_successful = 1234567")
    said = command("sync-status", "--syncs")
    assert said.code == 0
    assert widest(said.out) <= 80
    header, *_ = said.out.splitlines()
    assert all(name in header for name in SHORT)
    assert "acme-plumbing" in said.out
    assert "1,234,567" in said.out
    for name in ("success rate", "rejected records", "p95 of API time", "token refreshes", "slowest", "next due"):
        assert name in said.out
    assert "3: 2 completed, 1 failed, 0 running" in said.words
    assert "66.7%" in said.out
    assert "birch 3,600.0 s" in said.words
    assert "birch: paused: moves house" in said.words
    assert command("sync-status", "--each-tenant").out.splitlines()[0] == header
    failed = command("sync-status", "-f")
    assert "acme-plumbing@integration: job_types: " in failed.words
    assert "3: 2 completed, 1 failed" in failed.words  # the figures are about all


def test_names_are_whole_where_there_is_room(history: Installation, command: Command, monkeypatch: pytest.MonkeyPatch):
    assert history.settings is not None
    monkeypatch.setenv("COLUMNS", "140")
    header = command("sync-status", "--syncs").out.splitlines()[0]
    for name in ("company", "data type", "status", "started (UTC)", "completed", "processed", "successful", "failed"):
        assert name in header


def test_the_figures_are_those_of_the_log(history: Installation, command: Command):
    answer = command("sync-status", "--json", "--last-24h").json
    assert all(set(sync) == KEYS for sync in answer["syncs"])
    figures = answer["statistics"]
    ((processed, failed, requests, tokens, seconds),) = history.rows(
        "SELECT sum(records_processed), sum(records_failed), sum((details->'api'->>'requests')::int), "
        "sum((details->'api'->>'token_requests')::int), sum(duration_seconds) "
        "FROM servicetitan_sync_logs WHERE started_at > now() - interval '1 day'"
    )
    assert (figures["records"], figures["records_failed"]) == (processed, failed)
    assert (figures["requests"], figures["token_refreshes"]) == (requests, tokens)
    assert tokens == 2
    assert figures["records_per_second"] == round(float(processed) / seconds, 1)
    assert (figures["success_rate"], figures["failed_share"]) == (0.5, 0.0)
    # Of the responses of both syncs together, not of one sync's: no more than the longest, no less than each's median.
    slowest = max(sync["seconds"] for sync in figures["slowest"])
    assert slowest == max(sync["seconds"] for sync in answer["syncs"])
    each = history.rows(
        "SELECT (details->'api'->>'p50_ms')::float, (details->'api'->>'longest_ms')::float "
        "FROM servicetitan_sync_logs WHERE started_at > now() - interval '1 day'"
    )
    assert min(p50 for p50, _ in each) <= figures["api_p95_ms"] <= round(max(longest for _, longest in each), 1)
    assert figures["next_due"]["with_next_tick"] == 3


def test_a_refused_tenant_is_named_at_once_with_the_reason_and_when_it_is_tried_again(
    installation: Installation, command: Command
):
    """Its last materializations in Dagster stay green: a poll that fails for it writes none."""
    installation.add("acme", "birch", customers=0, invoices=0)
    installation.synced("acme", "birch", only=("tag_types",))
    assert command("sync-status", "--json").json["statistics"]["refused"] == []
    installation.sources["birch"].change(client_secret="cs.new")
    installation.change("UPDATE servicetitan_credentials SET access_token = NULL")
    installation.synced("birch", only=("tag_types",), sync_type="scheduled")
    (refused,) = command("sync-status", "--json").json["statistics"]["refused"]
    assert (refused["tenant"], refused["status"]) == ("birch", "error")
    assert "does not know this client id and secret" in refused["message"]
    since, again = (datetime.fromisoformat(refused[name]) for name in ("since", "tried_again_from"))
    assert again > since
    assert "does not know this client id and secret" in command("sync-status").words
    said = command("sync-status", "--syncs").words
    assert "refused birch since" in said
    assert "birch: suspended: ServiceTitan refuses its credentials; tried again from" in said


def test_without_any_sync_it_says_so(installation: Installation, command: Command):
    installation.add("acme")
    said = command("sync-status", "--syncs")
    assert said.out.startswith("no sync matches\n")
    assert "none has ended" in said.out
    assert command("sync-status", "--json").json["statistics"]["success_rate"] is None


def test_watching_goes_on_until_ctrl_c(history: Installation):
    with history.at_terminal("sync-status", "--watch", "--running-only") as terminal:
        terminal.wait_for("next due")
        terminal.press(CTRL_C)
        out = terminal.read()
    assert terminal.process.returncode == 0
    assert "no sync matches" in out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("-r", "-f"), "--running-only and --failed-only exclude"),
        (("--last-24h", "--since", "2026-01-01"), "--last-24h and --since exclude"),
        (("--since", "yesterday"), "--since is not a valid time"),
        (("--since", "2026-01-01T00:00:00"), "--since has no"),
        (("--watch", "--json"), "--watch and --json exclude"),
        (("-c", "acm"), "unknown company 'acm'"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    installation: Installation, command: Command, arguments: tuple[str, ...], reason: str
):
    installation.add("acme")
    assert_refused(command("sync-status", *arguments), reason)
