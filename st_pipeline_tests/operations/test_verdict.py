"""From facts to words, without a server. That whole syncs lead to these facts: test_explain.py."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.operations.record_facts import Failure, RejectState, Row, StreamRecord, Sync
from st_pipeline.operations.verdict import Asked, Explanation, Facts, Verdict, judge
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.streams import STREAMS
from st_pipeline.tenants.store import Tenant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER, EARLIER = NOON + timedelta(hours=1), NOON - timedelta(hours=1)
PRESENT, INACTIVE, OUTDATED, REJECTED, DELETED, ABSENT = Verdict
ACME = Tenant(
    1, "acme", "acme", "Acme", None, None, "production", 4711, "connected", None, None, NOON,
    enabled=True, refused_since=None, retry_at=None,
)  # fmt: skip
READ = Cursor(last_full_at=NOON, complete_through=NOON)
ROW = Row(EARLIER, active=True, merged_to_id=None, local_synced_at=NOON, deleted_at=None, version=1)
REJECT = RejectState(("balance: not a number",), 1, NOON, NOON, None, 7)
FULL = Sync(7, "id", "manual", "full", "completed", NOON, NOON, None)
INCREMENTAL = replace(FULL, mode="incremental")
RECORD = StreamRecord(NOON, 3, still_exists=True, import_id="id", ours=True)
GONE = replace(ROW, deleted_at=LATER)


def known(**facts: object) -> Facts:
    """Facts of customer 1001 of a tenant that was read in full; by default nothing was found."""
    given = {"tenant": ACME, "name": "customers", "st_id": 1001, "cursor": READ, "failure": None, "reject": None}
    return Facts(**(given | facts))  # type: ignore[arg-type]


def judged(facts: Facts, entity: str = "customers") -> Explanation:
    return judge(facts, ENTITIES[entity])


@pytest.mark.parametrize(
    ("facts", "entity", "verdict", "meaning"),
    [
        (known(row=ROW), "customers", PRESENT, "its version of 2026-03-01 11:00 UTC was written at 2026-03-01 12"),
        (known(row=replace(ROW, modified_on=None)), "customers", PRESENT, "it was written at 2026-03-01 12:00 UTC"),
        (known(row=ROW, reject=REJECT), "customers", OUTDATED, "a later version was rejected at 2026-03-01 12:00"),
        (known(row=replace(ROW, active=False)), "customers", INACTIVE, "as inactive, which is not a deletion"),
        (known(row=replace(ROW, active=False, merged_to_id=9)), "customers", INACTIVE, "inactive, merged into 9,"),
        (known(row=replace(ROW, active=False)), "customer_contacts", INACTIVE, "the deletion guard refused"),
        (known(row=GONE, deleted_by=FULL), "customers", DELETED, "did not find it in the list, and ServiceTitan"),
        (
            known(row=GONE, deleted_by=FULL),
            "tag_types",
            DELETED,
            "the list, and a second read of the list did not show it either",
        ),
        (known(row=GONE, deleted_by=INCREMENTAL), "customers", DELETED, "no longer found it by id"),
        (known(row=GONE), "customers", DELETED, "no sync in the log covers that moment"),
        (known(row=replace(GONE, active=False)), "customer_contacts", DELETED, "which here means removed"),
        (known(reject=REJECT), "customers", REJECTED, "(seen once): balance: not a number"),
        (
            known(reject=replace(REJECT, times=3, dismissed_at=LATER)),
            "customers",
            REJECTED,
            "(seen 3 times since 2026-03-01 12:00 UTC, dismissed at 2026-03-01 13:00 UTC)",
        ),
        (known(cursor=Cursor()), "customers", ABSENT, "customers of this tenant was never synced"),
        (known(cursor=Cursor(last_failed_at=NOON)), "customers", ABSENT, "; its first sync failed at 2026-03-01"),
        (known(cursor=Cursor(full_started_at=NOON)), "customers", ABSENT, "begun at 2026-03-01 12:00 UTC, has not"),
        (known(highest_id=1000), "customers", ABSENT, "is newer than that, in any state"),
        (known(highest_id=1001, rejects_without_id=2), "customers", ABSENT, "or is one of 2 rejects that show no id"),
        (known(highest_id=1001), "customers", ABSENT, "did not have it by then in any state"),
    ],
)
def test_the_facts_about_a_row_lead_to_a_verdict_with_its_reason(
    facts: Facts, entity: str, verdict: Verdict, meaning: str
):
    found = judged(facts, entity)
    assert (found.verdict, found.facts) == (verdict, facts)
    assert meaning in found.meaning


OFF = replace(ACME, enabled=False)
SUSPENDED = replace(ACME, connection_status="error")
FAILED = Failure(7, NOON, "customers of tenant acme: 400")
CAME_BEFORE = Asked(found=True, modified_on=EARLIER - timedelta(hours=1))


@pytest.mark.parametrize(
    ("facts", "next_step"),
    [
        (
            known(tenant=OFF, failure=FAILED),
            "the tenant is disabled, so it is not synced: `st-pipeline companies update acme",
        ),
        (
            known(tenant=SUSPENDED, failure=FAILED),
            "the tenant is suspended, so it is not synced: `st-pipeline credentials",
        ),
        (known(failure=FAILED, asked=Asked(found=False)), "fix what the last failure names"),
        (known(row=ROW, asked=Asked(found=True, modified_on=EARLIER)), "nothing: ServiceTitan has the same version"),
        (known(row=ROW, asked=Asked(found=True, modified_on=LATER)), "nothing: the next poll brings"),
        (known(row=ROW, asked=Asked(found=True, modified_on=NOON)), "nothing: the next poll brings"),
        (known(row=ROW, asked=Asked(found=True)), "nothing: the next poll brings"),
        (known(row=ROW, asked=CAME_BEFORE), "ServiceTitan has it from before the last read, so a poll may miss it"),
        (known(row=ROW, asked=CAME_BEFORE, cursor=Cursor(last_full_at=NOON)), "nothing: the next poll brings"),
        (
            known(row=ROW, asked=Asked(found=False)),
            "a full sync of the tenant (docs/operating.md shows how) marks it as",
        ),
        (known(row=GONE, asked=Asked(found=False)), "nothing: ServiceTitan does not have it either"),
        (known(asked=Asked(found=False)), "nothing: ServiceTitan does not have it either"),
        (known(row=GONE, asked=Asked(found=True, modified_on=EARLIER)), "ServiceTitan has it again: a full sync"),
        (known(reject=REJECT, asked=Asked(found=True)), "fix the record in ServiceTitan, or our rule"),
        (known(reject=REJECT), "fix the record in ServiceTitan, or our rule"),
        (known(row=ROW, reject=REJECT), "fix the record in ServiceTitan, or our rule"),
        (known(cursor=Cursor(full_started_at=NOON)), "wait for the full sync to end"),
        (known(cursor=Cursor()), "a full sync of the tenant (docs/operating.md shows how) reads it"),
        (known(cursor=Cursor(), note="it has no Intacct id"), "do what the reason names, then sync the tenant"),
        (known(), "ask ServiceTitan whether it has the record: add --ask"),
        (known(row=ROW), "nothing; to compare with ServiceTitan, add --ask"),
    ],
)
def test_the_next_step_follows_from_the_facts(facts: Facts, next_step: str):
    assert judged(facts).next_step.startswith(next_step)


PRESENT_ROW = judged(known(row=ROW))
NO_ROW = judged(known())


@pytest.mark.parametrize(
    ("facts", "verdict", "meaning", "next_step"),
    [
        (
            {"record": RECORD, "source": PRESENT_ROW},
            PRESENT,
            "version 3; its customers row is present",
            "nothing: the next sync builds what waits",
        ),
        ({"record": RECORD, "source": PRESENT_ROW, "waiting": True}, PRESENT, "it waits to be built again", "nothing"),
        ({"record": replace(RECORD, ours=False), "source": PRESENT_ROW}, PRESENT, "from a file or another", "nothing"),
        ({"record": RECORD, "reject": REJECT, "source": PRESENT_ROW}, OUTDATED, "a later version was", "fix the rec"),
        ({"reject": REJECT, "source": PRESENT_ROW}, REJECTED, "balance: not a number", "fix the record"),
        ({"record": replace(RECORD, still_exists=False), "source": PRESENT_ROW}, INACTIVE, "no longer existing", ""),
        (
            {"record": replace(RECORD, still_exists=False), "source": judged(known(row=GONE))},
            DELETED,
            "its customers row is deleted at the source",
            "nothing; to compare",
        ),
        ({"record": replace(RECORD, still_exists=False), "source": NO_ROW}, DELETED, "row is absent", "ask Serv"),
        ({"source": PRESENT_ROW}, ABSENT, "it is not built and does not wait", "a full sync of the tenant"),
        ({"source": PRESENT_ROW, "waiting": True}, ABSENT, "it waits to be built;", "nothing: the next sync builds"),
        (
            {"source": PRESENT_ROW, "cursor": Cursor()},
            ABSENT,
            "was never built; its customers row is present",
            "a full sync of the tenant",
        ),
        (
            {"source": PRESENT_ROW, "cursor": Cursor(), "note": "it has no Intacct id"},
            ABSENT,
            "it has no Intacct id",
            "do what the reason names",
        ),
    ],
)
def test_a_stream_s_record_is_judged_with_the_row_it_is_built_from(
    facts: dict[str, object], verdict: Verdict, meaning: str, next_step: str
):
    found = judge(known(name="members_stream", **facts), STREAMS["members_stream"])
    assert found.verdict is verdict
    assert meaning in found.meaning
    assert found.next_step.startswith(next_step)
