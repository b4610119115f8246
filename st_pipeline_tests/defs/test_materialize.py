"""What a run over many tenants says of each: its tags, its failure, the tenants that it skips."""

import base64
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Engine, text

from st_pipeline.checks.spec import CheckedTenant
from st_pipeline.defs.materialize import ProgressLines, RunReport, failure, first_of, materialization, still_to_sync
from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.errors import ConfigurationError, OutOfTime, ScopeMissing, ServiceUnavailable, SyncStopped
from st_pipeline.protocol import Counts, Mode
from st_pipeline.runs.tags import MESSAGE_TAG, RESULT_TAG, SKIPPED_TAG
from st_pipeline.settings import Settings
from st_pipeline.sync.context import EntityResult
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import database_copied
from st_pipeline_tests.tenants.planted import new_credential, put_tenant


@pytest.mark.parametrize(
    ("errors", "retry_helps", "is_last_try"),
    [
        ([ScopeMissing("403")], False, False),
        ([ScopeMissing("403"), ServiceUnavailable("503"), ScopeMissing("403")], True, False),
        ([ServiceUnavailable("503"), SyncStopped("a person")], True, True),
        ([OutOfTime("900 s"), ScopeMissing("403")], True, True),
        ([ValueError("ours"), None], False, False),
    ],
)
def test_one_failure_that_a_retry_may_repair_is_enough_but_who_ended_the_run_wants_no_retry(
    errors: list[Exception | None], retry_helps: bool, is_last_try: bool
):
    report = RunReport()
    for number, error in enumerate(errors):
        report.fail(f"acme / {number}", error, "failed")
    assert (report.retry_helps, report.is_last_try) == (retry_helps, is_last_try)
    assert failure(report).allow_retries is (retry_helps and not is_last_try)


def test_the_run_s_tags_have_the_figures_the_first_failure_and_who_was_skipped():
    report = RunReport(Counts(processed=5, created=5), still_failing=2)
    assert report.tags.keys() == {RESULT_TAG}
    assert "processed 5" in report.tags[RESULT_TAG]
    assert report.tags[RESULT_TAG].endswith("failed_entities 2")
    report.fail("acme / jobs", None, "jobs: 503")
    report.fail("bolt", None, "busy")
    report.skipped += ["tenant cool is disabled", "tenant dust is busy"]
    assert report.tags[RESULT_TAG].endswith("failed_entities 4")
    assert report.tags[MESSAGE_TAG] == "jobs: 503 (and 1 more)"
    assert report.tags[SKIPPED_TAG] == "tenant cool is disabled; tenant dust is busy"


def test_the_failure_that_ends_a_run_names_the_first_and_lists_all():
    report = RunReport()
    report.fail("acme / jobs", None, "jobs: 503")
    assert failure(report).description == "jobs: 503"
    report.fail("bolt", None, "busy")
    assert failure(report).description == "jobs: 503 (and 1 more), see the metadata"
    assert failure(report).metadata["failed"].value == {"acme / jobs": "jobs: 503", "bolt": "busy"}
    assert first_of({"a": "x", "b": "y", "c": "z"}) == "x (and 2 more)"


@pytest.mark.parametrize("sync_log_id", [None, 7])
def test_an_entity_s_event_is_of_its_tenant_and_leads_to_its_row_of_the_sync_log(sync_log_id: int | None):
    event = materialization("acme", EntityResult("jobs", Mode.FULL), sync_log_id)
    assert (event.asset_key.path, event.partition) == (["servicetitan", "jobs"], "acme")
    assert event.metadata.get("sync_log_id", SimpleNamespace(value=None)).value == sync_log_id


def test_every_fifth_chunk_has_a_line_in_the_log():
    lines: list[str] = []
    told = ProgressLines(cast("Any", SimpleNamespace(log=SimpleNamespace(info=lines.append))), "acme")
    for chunk in range(1, 12):
        told("jobs", Counts(processed=2000 * chunk))
    assert lines == ["acme / jobs: 10,000 records so far", "acme / jobs: 20,000 records so far"]


@pytest.fixture(scope="module")
def tenants(postgres_server: EmbeddedServer) -> Iterator[Engine]:
    """A database of two tenants, acme and bolt."""
    settings = Settings(encryption_keys=f"1:{base64.b64encode(os.urandom(32)).decode()}")
    with database_copied(postgres_server, TEMPLATE) as engine:
        put_tenant(engine, settings, new_credential("acme", tenant_id=1))
        put_tenant(engine, settings, new_credential("bolt", tenant_id=2))
        yield engine


def enable(engine: Engine, tenant: str, *, enabled: bool) -> None:
    """As `st-pipeline credentials enable` and `disable` do."""
    change = "UPDATE servicetitan_credentials c SET enabled = :enabled FROM companies WHERE company_id = companies.id "
    with engine.begin() as connection:
        connection.execute(text(f"{change} AND slug = :slug"), {"enabled": enabled, "slug": tenant})


def names(turns: Iterator[CheckedTenant]) -> list[str]:
    return [tenant.partition_key for tenant in turns]


def test_a_tenant_disabled_or_removed_meanwhile_is_skipped_and_said_to_be(tenants: Engine):
    report = RunReport()
    enable(tenants, "bolt", enabled=False)
    assert names(still_to_sync(tenants, ["gone", "acme", "bolt"], report)) == ["acme"]
    assert report.skipped == ["tenant gone has been removed", "tenant bolt is disabled"]
    enable(tenants, "bolt", enabled=True)
    assert names(still_to_sync(tenants, ["bolt", "acme"], RunReport())) == ["bolt", "acme"]


def test_each_tenant_is_looked_up_when_its_turn_comes(tenants: Engine):
    report = RunReport()
    turns = still_to_sync(tenants, ["acme", "bolt"], report)
    assert next(turns).partition_key == "acme"
    enable(tenants, "bolt", enabled=False)
    assert list(turns) == []
    assert report.skipped == ["tenant bolt is disabled"]
    enable(tenants, "bolt", enabled=True)


def test_a_run_with_no_tenant_left_fails(tenants: Engine):
    with pytest.raises(ConfigurationError, match=r"^nothing to sync: tenant gone has been removed; `st-pipeline"):
        list(still_to_sync(tenants, ["gone"], RunReport()))
