"""Completeness: ServiceTitan's own total against what is held.

Here: the comparison, and when a difference counts. Not here: asking for totals (source_totals), finding the records
that differ (reconciliation/).

ServiceTitan changes between a read and the question, and its feeds lag, so a difference counts only when an evaluation
finds it again a quarter of an hour later, of records created before the same moment. Fewer there than here may be
deletions that no read could see yet: these count only after a read that sees them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from st_pipeline.checks.source_totals import Answer, Question, ask
from st_pipeline.checks.spec import AWAITS, Check, CheckInput, Finding, Severity, Status, Verdict
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import CREATED, KEY, DeletionSign, EntitySpec

NAME = "completeness"
READ = """
    SELECT c.credential_id, c.entity, m.complete_through, c.last_full_at, c.last_failed_at IS NOT NULL AS is_failing
    FROM sync_cursors c JOIN completeness m USING (credential_id, entity)
    WHERE c.credential_id = ANY(:ids) AND c.entity = ANY(:entities) AND m.complete_through IS NOT NULL
"""
# `marked`: contacts that are removed, which their list may show or not.
HELD = f"""
    SELECT q.credential_id, count(t.{KEY}) FILTER (WHERE t.deleted_at IS NULL) AS live, count(t.deleted_at) AS marked,
           (SELECT count(*) FROM sync_rejects r WHERE r.credential_id = q.credential_id AND r.entity = :entity
            AND NOT EXISTS (SELECT FROM {{table}} o WHERE o.credential_id = r.credential_id AND o.{KEY} = r.st_id)
           ) AS rejected
    FROM unnest(CAST(:of AS bigint[]), CAST(:moments AS timestamptz[])) AS q (credential_id, moment)
    LEFT JOIN (SELECT credential_id, {KEY}, {CREATED}, deleted_at FROM {{table}} WHERE credential_id = ANY(:of)) t
        ON t.credential_id = q.credential_id AND (t.{CREATED} < q.moment OR t.{CREATED} IS NULL)
    GROUP BY q.credential_id
"""  # noqa: S608 - names of ours
MISSING, SURPLUS = "missing", "surplus"
CONFIRMED_AFTER = timedelta(minutes=15)  # ServiceTitan: export feeds lag up to 15 minutes


@dataclass(frozen=True, slots=True)
class Held:
    """What is held of an entity. `deletions_known_at`: the last read that saw deletions."""

    live: int
    marked: int
    rejected: int
    deletions_known_at: datetime | None

    @property
    def most(self) -> int:
        """The largest total that fits: every record rejected is still there, and removed contacts are shown."""
        return self.live + self.rejected + self.marked


def complete(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant and entity that was read to its end and whose list has such a total."""
    before = asked.stored(NAME)
    entities = [ENTITIES[asset] for asset in sorted(asked.assets)]
    for spec in entities:
        if not has_total(spec):
            message = f"The API has no total of {spec.name} by their creation."
            yield from (Finding(one, spec.name, Status.NOT_CHECKABLE, message) for one in asked.credential_ids)
    questions: list[Question] = []
    held: dict[tuple[int, str], Held] = {}
    rows = asked.rows(READ, entities=[spec.name for spec in entities if has_total(spec)])
    for spec in entities:
        own = [row for row in rows if row.entity == spec.name]
        of_spec = []
        for row in own:
            earlier = before.get((row.credential_id, spec.name))
            question = Question(row.credential_id, spec, _moment(earlier, row))
            if row.is_failing:
                yield _unanswered(Answer(question, None, "its last read failed"), earlier)
            else:
                of_spec.append(question)
        held |= _held(asked, spec, of_spec, {row.credential_id: row for row in own})
        questions += of_spec
    for answer in ask(asked, questions):
        key = answer.question.credential_id, answer.question.spec.name
        yield _judged(answer, held[key], before.get(key), asked.now)


def has_total(spec: EntitySpec) -> bool:
    """Does one list show the entity, with a total of what was created before a moment?"""
    return not spec.lists and spec.has(CREATED)


def _moment(before: Verdict | None, row: Any) -> datetime:
    """Of what was created before it everything is held; a difference is confirmed with the moment it was found with."""
    if before is not None and AWAITS in before.figures:
        return datetime.fromisoformat(before.figures["created_before"])
    moment: datetime = row.complete_through
    return moment


def _held(
    asked: CheckInput, spec: EntitySpec, questions: Sequence[Question], read: Mapping[int, Any]
) -> dict[tuple[int, str], Held]:
    if not questions:
        return {}
    of, moments = zip(*((question.credential_id, question.created_before) for question in questions), strict=True)
    rows = asked.rows(HELD.format(table=spec.table), entity=spec.name, of=list(of), moments=list(moments))
    is_unsure = spec.deletion_sign is DeletionSign.INACTIVE
    # A feed shows deleted records as inactive ones, which are looked up by id; without it only a full sync sees them.
    told_by_feed = spec.feed_path is not None and (is_unsure or (spec.ids_param and spec.has("active")))
    return {
        (row.credential_id, spec.name): Held(
            row.live,
            row.marked if is_unsure else 0,
            row.rejected,
            read[row.credential_id].complete_through if told_by_feed else read[row.credential_id].last_full_at,
        )
        for row in rows
    }


def _judged(answer: Answer, held: Held, before: Verdict | None, now: datetime) -> Finding:
    question, shown = answer.question, answer.total
    name = question.spec.name
    status = Status.NOT_CHECKABLE if before is None else before.status
    if shown is None:
        return _unanswered(answer, before)
    figures: dict[str, Any] = {
        "total": shown,
        "live": held.live,
        "rejected": held.rejected,
        "created_before": question.created_before.isoformat(),
        "asked_at": now.isoformat(),
    }
    is_missing, number = shown > held.most, max(shown - held.most, held.live - shown)
    told = f"ServiceTitan shows {shown} {name}; {held.live} are held and {held.rejected} rejected"
    if number <= 0:
        return Finding(question.credential_id, name, Status.PASSED, f"{told}.", figures)
    kind = MISSING if is_missing else SURPLUS
    known_at = None if held.deletions_known_at is None else held.deletions_known_at.isoformat()
    figures |= {kind: number, "deletions_known_at": known_at}
    what = f"{number} {'are missing' if is_missing else 'are gone at the source'}"
    noted = {} if before is None else before.figures
    awaits_the_same = AWAITS in noted and kind in noted
    has_waited = awaits_the_same and now - datetime.fromisoformat(noted[AWAITS]) >= CONFIRMED_AFTER
    is_confirmed = has_waited and (is_missing or noted.get("deletions_known_at") != known_at)
    if status is Status.FAILED or is_confirmed:
        return Finding(question.credential_id, name, Status.FAILED, f"{told}: {what}.", figures)
    figures[AWAITS] = noted[AWAITS] if awaits_the_same else now.isoformat()
    if awaits_the_same:  # no read has seen deletions since
        figures["deletions_known_at"] = noted["deletions_known_at"]
    return Finding(
        question.credential_id, name, status, f"{told}: {what}, if it is so in a quarter of an hour, too.", figures
    )


def _unanswered(answer: Answer, before: Verdict | None) -> Finding:
    """No total: what was found before stays, and what waits to be confirmed goes on waiting."""
    spec, credential_id = answer.question.spec, answer.question.credential_id
    status = Status.NOT_CHECKABLE if before is None else before.status
    if answer.why_not is None:
        return Finding(credential_id, spec.name, Status.NOT_CHECKABLE, f"The list of {spec.name} shows no total.")
    figures = {**({} if before is None else before.figures), "not_asked": answer.why_not}
    message = f"ServiceTitan was not asked for its total of {spec.name}, or did not answer: {answer.why_not}"
    since = "" if "asked_at" not in figures else f"; this is from {figures['asked_at'][:16]} UTC"
    return Finding(credential_id, spec.name, status, f"{message}{since}.", figures)


CHECKS = (
    Check(
        name=NAME,
        assets=tuple(ENTITIES),
        severity=Severity.ERROR,
        description="ServiceTitan's total of the records created up to when the entity is complete, active or not, is "
        "the number of rows and rejects here. A difference counts when it is still there a quarter of an hour later.",
        advice="Run a full sync of the entity (`st-pipeline sync`): it reads what is missing and marks what is gone.",
        thresholds=(),
        rule=complete,
        reads_all_rows=True,
    ),
)
