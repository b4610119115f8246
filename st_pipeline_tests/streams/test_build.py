"""Building streams: which tenants feed them, what is built when, and nothing lost between chunk and build."""

import dataclasses
from datetime import UTC, date, datetime

import pytest
from sqlalchemy import Connection, event, text

from st_pipeline import streams
from st_pipeline.entities import LISTS
from st_pipeline.entities.spec import Severity
from st_pipeline.streams.spec import in_year
from st_pipeline.sync.data_types import SYNCED
from st_pipeline_tests.streams.conftest import Watch, Watched

STREAMS = tuple(streams.STREAMS)


def test_a_build_that_finds_nothing_leaves_every_record_as_it_is(acme: Watched):
    before = acme.records("invoices_stream")
    acme.sync()
    acme.sync(incremental_only=False)
    assert acme.records("invoices_stream") == before


def test_a_rewrite_builds_every_record_and_writes_those_that_differ(acme: Watched):
    invoice = acme.source.ids("invoices")[0]
    with acme.engine.begin() as connection:
        connection.execute(text(f"UPDATE invoices_stream SET total = 0 WHERE invoice_number = '{invoice}'"))  # noqa: S608
    counts = acme.outcome("invoices_stream", rewrite=True).result.counts
    assert (counts.processed, counts.updated, acme.invoice(invoice)["version"]) == (40, 1, 2)
    assert str(acme.invoice(invoice)["total"]) == acme.source.record("invoices", invoice)["total"]


def test_records_of_an_older_mapping_are_built_again_by_the_next_full_sync(acme: Watched):
    with acme.engine.begin() as connection:
        connection.execute(text("UPDATE members_stream SET spec_version = 0, customer_name = 'old'"))
    assert acme.outcome("members_stream").result.counts.processed == 0
    assert acme.outcome("members_stream", incremental_only=False).result.counts.updated == 20
    assert "old" not in {record["customer_name"] for record in acme.records("members_stream").values()}


def test_what_a_failed_build_took_waits_for_the_next_one(acme: Watched, monkeypatch: pytest.MonkeyPatch):
    acme.source.advance(changed=10, created=5)

    def broken(*_: object) -> None:
        raise OSError("no mapping today")

    stream = streams.STREAMS["invoices_stream"]
    monkeypatch.setitem(streams.STREAMS, stream.name, dataclasses.replace(stream, map_records=broken))
    with pytest.raises(AssertionError, match="invoices_stream: unexpected OSError"):
        acme.sync()
    assert acme.rows("SELECT count(*) FROM stream_pending WHERE stream = 'invoices_stream'") >= [(5,)]
    monkeypatch.undo()
    acme.sync()
    assert acme.rows("SELECT * FROM stream_pending") == []
    assert set(acme.records("invoices_stream")) == {str(st_id) for st_id in acme.source.ids("invoices")}


def test_a_failed_entity_holds_back_only_the_stream_it_feeds(acme: Watched):
    acme.source.fault("status", status=403, entity="customer_contacts")
    with pytest.raises(AssertionError, match="members_stream of tenant acme: not tried, as customer_contacts failed"):
        acme.sync()
    statuses = dict(acme.rows("SELECT entity, last_failed_at IS NULL FROM sync_cursors"))
    assert statuses["invoices_stream"] is True
    assert statuses["members_stream"] is False


def test_entities_alone_leave_their_keys_waiting(acme: Watched):
    acme.source.advance(created={"invoices": 3})
    acme.sync(only=("customers", "invoices"))
    assert acme.rows("SELECT count(*) FROM stream_pending WHERE stream = 'invoices_stream'") == [(3,)]
    acme.sync(only=("invoices_stream",))
    assert len(acme.records("invoices_stream")) == 43


def test_a_company_without_an_intacct_id_feeds_none_until_it_has_one(watch: Watch):
    acme = watch(intacct_id=None)
    (note,) = acme.outcome("members_stream").result.notes
    assert "no Intacct id" in note
    assert "`st-pipeline companies update acme --intacct-id …`" in note
    assert acme.records("members_stream") == {}
    acme.update(intacct_id="ACME-9")
    acme.sync()
    assert {record["tenant"] for record in acme.records("members_stream").values()} == {"ACME-9"}
    assert (len(acme.records("members_stream")), len(acme.records("invoices_stream"))) == (20, 40)


def test_a_poll_that_finds_nothing_reads_no_stream_record(acme: Watched):
    """It read all of a tenant's records twice, to look for another company's id and trade: 5,344 pages of 100,000."""
    read: list[int] = []

    def count(connection: Connection) -> None:
        tuples = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables WHERE relname ~ '_stream$'"
        read.append(int(connection.exec_driver_sql(tuples).scalar_one() or 0))

    event.listen(acme.engine, "commit", count)
    acme.sync(incremental_only=True)
    assert len(read) > 10
    assert sum(read) == 0
    acme.update(trade="plumbing")
    acme.sync(incremental_only=True)
    assert sum(read) >= 60  # so they can be counted


def test_another_intacct_id_or_trade_moves_all_records(acme: Watched):
    acme.update(intacct_id="ACME-2")
    acme.sync()
    assert {record["tenant"] for record in acme.records("invoices_stream").values()} == {"ACME-2"}
    assert len(acme.records("invoices_stream")) == 40
    acme.update(trade="plumbing")
    acme.sync()
    assert {(r["trade"], r["version"]) for r in acme.records("members_stream").values()} == {("plumbing", 2)}


def test_an_integration_tenant_feeds_none_unless_a_setting_says_so(watch: Watch):
    acme = watch("integration")
    notes = acme.outcome("invoices_stream").result.notes
    assert "ST_PIPELINE_INTEGRATION_FEEDS_STREAMS" in notes[0]
    assert acme.records("invoices_stream") == {}
    feeding = dataclasses.replace(acme, settings=acme.settings.model_copy(update={"integration_feeds_streams": True}))
    feeding.sync()
    assert len(acme.records("invoices_stream")) == 40
    acme.sync()
    assert acme.records("invoices_stream") == {}


def test_an_integration_tenant_never_overwrites_its_production_tenant(watch: Watch):
    acme = watch()
    acme.sync()
    before = acme.records("members_stream")
    twin = watch("integration", integration_feeds_streams=True)
    assert "production tenant feeds its streams" in twin.outcome("members_stream").result.notes[0]
    assert acme.records("members_stream") == before


def test_a_record_from_a_file_is_taken_over_when_the_api_has_it(watch: Watch):
    acme = watch()
    invoice = acme.source.ids("invoices")[0]
    with acme.engine.begin() as connection:
        connection.execute(
            text("""INSERT INTO invoices_stream (tenant, software, invoice_number, hub_plus_import_id, total)
                    VALUES ('ACME-1', 'ServiceTitan', :number, 'upload-1', 1), ('ACME-1', 'Other', :number, 'u', 2),
                           ('OTHER', 'ServiceTitan', :number, 'u', 3)"""),
            {"number": str(invoice)},
        )
    acme.sync()
    rows = acme.rows("SELECT tenant, software, hub_plus_import_id FROM invoices_stream WHERE total IN (1, 2, 3)")
    assert {tuple(row) for row in rows} == {("ACME-1", "Other", "u"), ("OTHER", "ServiceTitan", "u")}
    assert len(acme.rows("SELECT * FROM invoices_stream")) == 42


def test_last_complete_through_moves_only_when_a_read_reached_its_end(acme: Watched):
    def moments() -> dict[str, datetime]:
        return dict(acme.rows("SELECT entity, last_complete_through FROM last_complete_through WHERE tenant = 'acme'"))

    first = moments()
    assert set(first) == {*SYNCED, *LISTS}
    assert all(moment < datetime.now(UTC) for moment in first.values())
    assert first["invoices_stream"] == min(first["invoices"], first["customers"])
    acme.source.fault("status", status=403, entity="invoices")
    with pytest.raises(AssertionError):
        acme.sync()
    second = moments()
    assert second["invoices"] == first["invoices"]
    assert second["customers"] > first["invoices"]
    assert second["invoices_stream"] == first["invoices"]  # nothing waits to be built, and no invoice was read since


@pytest.mark.parametrize("stream", STREAMS)
def test_the_tables_have_the_columns_of_their_stream(acme: Watched, stream: str):
    spec = streams.STREAMS[stream]
    found = dict(
        acme.rows("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = :name", name=stream)
    )
    assert {column.name: column.kind.value for column in spec.columns}.items() <= found.items()
    own = {
        "tenant",
        "software",
        "trade",
        "hub_plus_import_id",
        "version",
        "credential_id",
        "spec_version",
        "updated_at",
    }
    assert set(found) - {column.name for column in spec.columns} == own


@pytest.mark.parametrize("stream", STREAMS)
def test_next_year_is_next_year(stream: str):
    rules = [rule for rule in in_year(streams.STREAMS[stream], 2026).rules if rule.maximum is not None]
    assert {rule.maximum for rule in rules} == {date(2027, 12, 31)}
    assert any(rule.severity is Severity.REJECT for rule in rules)
