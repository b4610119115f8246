"""Drift from the source to where an operator looks: the table, the view, the sync log, the notes."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from st_pipeline.postgres import drift
from st_pipeline.protocol import Drift, DriftKind
from st_pipeline_tests.acme import Acme

KINDS = "SELECT DISTINCT kind FROM field_drift"
AI = Drift(DriftKind.UNKNOWN_KEY, "aiSummary")


@pytest.fixture
def drifting(acme: Acme) -> Iterator[Acme]:
    """Every served record has a key, a null or an enum value that no document names; some have all three."""
    rules = [{"kind": kind, "rate": 0.5} for kind in ("extra_keys", "nulls", "enums")]
    acme.source.control.set_faults(acme.source.tenant_id, acme.source.environment, rules=rules)
    return acme


def test_a_clean_source_leaves_no_drift(synced_acme: Acme):
    assert synced_acme.value("SELECT count(*) FROM st_invoices") > 0
    assert synced_acme.rows("SELECT * FROM field_drift") == []


def test_drift_of_every_entity_is_counted_by_field_and_loses_no_record(drifting: Acme):
    result = drifting.sync()
    assert result.success
    assert result.counts.failed == 0
    assert {kind for (kind,) in drifting.rows(KINDS)} == {"unknown key", "null", "unknown value"}
    assert drifting.value("SELECT records FROM drift WHERE entity = 'invoices' AND field = 'aiSummary'") >= 1
    assert drifting.value("SELECT value FROM drift WHERE kind = 'unknown value' AND entity = 'invoices'") == (
        "AddedWithoutNotice"
    )
    details = drifting.value("SELECT details FROM servicetitan_sync_logs")
    assert details["drift"]["invoices"]["unknown key: aiSummary"] >= 1
    assert "seen for the first time: unknown key: aiSummary" in details["notes"]["invoices"]
    assert "AddedWithoutNotice" not in json.dumps(details)


def test_times_move_and_counts_add_up_from_sync_to_sync(synced_acme: Acme):
    acme = synced_acme
    acme.source.control.set_faults(
        acme.source.tenant_id, acme.source.environment, rules=[{"kind": "extra_keys", "rate": 1.0, "entity": "jobs"}]
    )
    seen = "SELECT records, first_seen_at, last_seen_at FROM field_drift WHERE entity = 'jobs'"
    acme.source.advance(changed={"jobs": 2})
    acme.sync(only=("jobs",))
    ((records, first, last),) = acme.rows(seen)
    assert records == 1  # of the two written, the first is looked into
    acme.source.advance(changed={"jobs": 2})
    result = acme.sync(only=("jobs",))
    assert acme.rows(seen) == [(2, first, acme.value("SELECT max(last_seen_at) FROM field_drift"))]
    assert acme.value("SELECT max(last_seen_at) FROM field_drift") > last
    assert not any("first time" in note for outcome in result.outcomes for note in outcome.result.notes)


def test_beyond_500_differences_of_an_entity_only_known_ones_count(acme: Acme):
    with acme.engine.begin() as connection:
        credential_id = acme.value("SELECT credential_id FROM tenants")
        many = {Drift(DriftKind.UNKNOWN_KEY, f"key{number}"): 1 for number in range(drift.MAX_ROWS)}
        assert len(drift.note(connection, credential_id, "jobs", Counter(many))) == drift.MAX_ROWS
        assert drift.note(connection, credential_id, "jobs", Counter({AI: 1})) == []
        assert drift.note(connection, credential_id, "jobs", Counter({Drift(DriftKind.UNKNOWN_KEY, "key0"): 4})) == []
        assert drift.note(connection, credential_id, "invoices", Counter({AI: 1})) == [AI]
    assert acme.value("SELECT count(*) FROM field_drift WHERE entity = 'jobs'") == drift.MAX_ROWS
    assert acme.value("SELECT records FROM field_drift WHERE field = 'key0'") == 5
