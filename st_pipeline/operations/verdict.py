"""What the facts about a record mean, in words: a verdict, the reason for it, and the next step.

Here: from facts to words. Not here: gathering the facts (explain.py), printing (cli/). Ids, states and times only:
never a value of the record.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from st_pipeline.entities.spec import DeletionSign, EntitySpec
from st_pipeline.operations.record_facts import Built, Failure, RejectState, Row, StreamRecord, Sync
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.streams.spec import StreamSpec
from st_pipeline.tenants.store import Tenant

FULL_SYNC = "a full sync of the tenant (docs/operating.md shows how)"


class Verdict(StrEnum):
    """What became of a record."""

    PRESENT = "present"
    INACTIVE = "present but inactive"
    OUTDATED = "present, with a newer version of it rejected"
    REJECTED = "rejected"
    DELETED = "deleted at the source"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Asked:
    """ServiceTitan's answer when asked for a record by its id, in any state."""

    found: bool
    modified_on: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one record.

    For an entity: its `row`, the stream records it `feeds`, the highest id here, how many rejects show no id. For a
    stream: its `record`, whether it is `waiting`, why the stream is not built (`note`), the row it is built from
    (`source`).
    """

    tenant: Tenant
    name: str
    st_id: int
    cursor: Cursor
    failure: Failure | None
    reject: RejectState | None
    written_by: Sync | None = None
    row: Row | None = None
    deleted_by: Sync | None = None
    highest_id: int | None = None
    rejects_without_id: int = 0
    feeds: tuple[Built, ...] = ()
    record: StreamRecord | None = None
    waiting: bool = False
    note: str | None = None
    source: "Explanation | None" = None
    asked: Asked | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """A verdict, its meaning in a sentence, the next step in a line, and the facts behind it."""

    verdict: Verdict
    meaning: str
    next_step: str
    facts: Facts


def judge(facts: Facts, spec: EntitySpec | StreamSpec) -> Explanation:
    """What the facts about a record of this entity or stream mean."""
    verdict, meaning = _judge_record(facts, spec) if isinstance(spec, StreamSpec) else _judge_row(facts, spec)
    return Explanation(verdict, meaning, _next_step(facts, verdict), facts)


def _judge_row(facts: Facts, spec: EntitySpec) -> tuple[Verdict, str]:
    row, reject = facts.row, facts.reject
    if row is None:
        return (Verdict.REJECTED, _rejected(reject)) if reject else (Verdict.ABSENT, _why_absent(facts, spec))
    if row.deleted_at is not None:
        return (
            Verdict.DELETED,
            f"marked at {_at(row.deleted_at)}: {_how_deletion_was_learnt(facts.deleted_by, spec, row.active)}",
        )
    version = f"its version of {_at(row.modified_on)}" if row.modified_on else "it"
    here = f"{version} was written at {_at(row.local_synced_at)}"
    if reject is not None:
        return Verdict.OUTDATED, f"{here}; a later version was {_rejected(reject)}"
    if row.active is False and spec.deletion_sign is DeletionSign.INACTIVE:
        return Verdict.INACTIVE, f"{here}; removed at the source, but the deletion guard refused to mark it as deleted"
    if row.active is False:
        merged = f", merged into {row.merged_to_id}" if row.merged_to_id else ""
        return Verdict.INACTIVE, f"{here}; ServiceTitan shows it as inactive{merged}, which is not a deletion"
    return Verdict.PRESENT, here


def _rejected(reject: RejectState) -> str:
    times = f"seen {reject.times} times since {_at(reject.first_seen_at)}" if reject.times > 1 else "seen once"
    dismissed = f", dismissed at {_at(reject.dismissed_at)}" if reject.dismissed_at else ""
    return f"rejected at {_at(reject.last_seen_at)} ({times}{dismissed}): {'; '.join(reject.reasons)}"


def _how_deletion_was_learnt(sync: Sync | None, spec: EntitySpec, active: bool | None) -> str:
    if spec.deletion_sign is DeletionSign.INACTIVE and active is False:
        return "the feed shows it as inactive, which here means removed"
    if sync is None:
        return "no sync in the log covers that moment"
    if sync.mode == "incremental":
        return "the feed showed it as inactive, and ServiceTitan no longer found it by id"
    again = (
        "ServiceTitan did not find it by id either"
        if spec.ids_param
        else "a second read of the list did not show it either"
    )
    return f"a full sync did not find it in the list, and {again}"


def _why_absent(facts: Facts, spec: EntitySpec) -> str:
    cursor, rejects = facts.cursor, facts.rejects_without_id
    if cursor.last_full_at is None and cursor.full_started_at is not None:
        return f"not read yet: the first full sync, begun at {_at(cursor.full_started_at)}, has not ended"
    if cursor.last_full_at is None:
        failed = f"; its first sync failed at {_at(cursor.last_failed_at)}" if cursor.last_failed_at else ""
        return f"{spec.name} of this tenant was never synced{failed}"
    read = f"the last complete read began at {_at(cursor.complete_through or cursor.last_full_at)}"
    where = f"or is one of {rejects} rejects that show no id" if rejects else "in any state"
    if facts.highest_id is not None and facts.st_id > facts.highest_id:
        return f"its id is higher than any seen ({facts.highest_id}); {read}, so it is newer than that, {where}"
    without = f"the last full sync ended at {_at(cursor.last_full_at)} without it; {read}"
    return f"{without}: ServiceTitan did not have it by then {where}, or had deleted it before the first sync"


def _judge_record(facts: Facts, stream: StreamSpec) -> tuple[Verdict, str]:
    record, source = facts.record, facts.source
    assert source is not None  # noqa: S101 - _facts_of_record gives it
    row = f"its {stream.anchor} row is {source.verdict}"
    waits = "; it waits to be built again" if facts.waiting else ""
    if record is None:
        if facts.reject is not None:
            return Verdict.REJECTED, _rejected(facts.reject)
        return Verdict.ABSENT, _why_not_built(facts, row)
    here = f"written at {_at(record.updated_at)}, version {record.version}{waits}"
    if not record.ours:
        return Verdict.PRESENT, f"{here}; it comes from a file or another tenant of the company, not from this one"
    if facts.reject is not None:
        return Verdict.OUTDATED, f"{here}; a later version was {_rejected(facts.reject)}"
    if record.still_exists:
        return Verdict.PRESENT, f"{here}; {row}"
    was_merged = source.facts.row is not None and source.facts.row.deleted_at is None
    return Verdict.INACTIVE if was_merged else Verdict.DELETED, f"{here}, as no longer existing: {row}"


def _why_not_built(facts: Facts, row: str) -> str:
    if facts.note is not None:
        return facts.note
    if facts.cursor.last_full_at is None:
        return f"{facts.name} of this tenant was never built; {row}"
    return f"it waits to be built; {row}" if facts.waiting else f"it is not built and does not wait; {row}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _next_step(facts: Facts, verdict: Verdict) -> str:
    tenant, asked, source = facts.tenant, facts.asked, facts.source
    if not tenant.enabled:
        return f"the tenant is disabled, so it is not synced: `st-pipeline companies update {tenant.company} --enable`"
    if tenant.connection_status == "error":
        return f"the tenant is suspended, so it is not synced: `st-pipeline credentials test {tenant.partition_key}`"
    if facts.failure is not None:
        return "fix what the last failure names; every poll tries again"
    if source is not None and source.verdict not in (Verdict.PRESENT, Verdict.INACTIVE):
        return source.next_step
    if asked is not None and source is None:
        return _after_asking(facts, verdict, asked)
    return _unasked(facts, verdict)


def _after_asking(facts: Facts, verdict: Verdict, asked: Asked) -> str:
    row = facts.row
    if not asked.found:
        gone = verdict in (Verdict.DELETED, Verdict.ABSENT)
        return "nothing: ServiceTitan does not have it either" if gone else f"{FULL_SYNC} marks it as deleted"
    if verdict in (Verdict.REJECTED, Verdict.OUTDATED):
        return _unasked(facts, verdict)
    if verdict is Verdict.DELETED:
        return f"ServiceTitan has it again: {FULL_SYNC} removes the mark"
    if row is not None and row.modified_on == asked.modified_on:
        return "nothing: ServiceTitan has the same version"
    known = facts.cursor.complete_through
    if known is not None and asked.modified_on is not None and asked.modified_on < known:
        return f"ServiceTitan has it from before the last read, so a poll may miss it: {FULL_SYNC} brings it"
    return "nothing: the next poll brings ServiceTitan's version"


def _unasked(facts: Facts, verdict: Verdict) -> str:
    if verdict in (Verdict.REJECTED, Verdict.OUTDATED):
        return "fix the record in ServiceTitan, or our rule and run a full sync (docs/operating.md, Rejects)"
    if verdict is Verdict.ABSENT and facts.cursor.full_started_at is not None:
        return "wait for the full sync to end; if it was interrupted, the next sync continues it"
    if verdict is Verdict.ABSENT and facts.cursor.last_full_at is None:
        return f"{FULL_SYNC} reads it" if facts.note is None else "do what the reason names, then sync the tenant"
    if facts.source is not None:
        missing = verdict is Verdict.ABSENT and not facts.waiting
        return f"{FULL_SYNC} builds what is missing" if missing else "nothing: the next sync builds what waits"
    if verdict is Verdict.ABSENT:
        return "ask ServiceTitan whether it has the record: add --ask"
    return "nothing; to compare with ServiceTitan, add --ask"
