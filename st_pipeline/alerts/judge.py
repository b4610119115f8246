"""What alerts now, what has become worse, what is over: from what is seen and what was known.

Here: the decisions, without a database. Not here: what is seen (collect.py), who is told (queue.py).

A problem alerts when it has been there for its cause's time, and is over when it has been gone for another; the more
often it came back within a day, the longer. What another problem explains, is silenced, or is one of many alike sends
no message of its own.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from st_pipeline.alerts.causes import AFTER_EXPLAINED_SECONDS, cause_of
from st_pipeline.postgres.alert_problems import Problem, Silence
from st_pipeline.postgres.check_verdicts import Severity

Kind = Literal["opened", "worsened", "closed"]

MANY = "many tenants"  # the subject of an alert about several tenants
WORST_NAMED = 5
TOGETHER = timedelta(hours=1)
LONGEST_RECOVERY = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Seen:
    """A problem as it is seen now. `environment`: of its tenant. `since`: as far as it is known; None: now."""

    cause: str
    message: str
    tenant: str | None = None
    subject: str = ""
    severity: Severity | None = None
    figures: Mapping[str, Any] = field(default_factory=dict)
    since: datetime | None = None
    environment: str | None = None


@dataclass(slots=True)
class Judgement:
    """All problems, some of them changed, and what people are to be told."""

    problems: list[Problem]
    events: list[tuple[Kind, Problem]] = field(default_factory=list)


def judge(
    known: Sequence[Problem],
    seen: Iterable[Seen],
    now: datetime,
    *,
    silences: Sequence[Silence] = (),
    times_before: Mapping[tuple[str, str | None, str], int] | None = None,
    unknown: Collection[str] = (),
    many: int,
) -> Judgement:
    """Compare. `unknown`: causes about which nothing could be found out: theirs stay as they are.

    `many`: so many tenants with the same cause become one alert.
    """
    result = Judgement(list(known))
    environments = _note_what_is_seen(result, seen, now, times_before or {}, frozenset(unknown))
    _close_what_is_over(result, now)
    _hold_back(result, environments, now)
    ready = [one for one in result.problems if _is_ready(one, now, silences)]
    for problem in _one_for_many(result, ready, now, many):
        problem.change(opened_at=now)
        result.events.append(("opened", problem))
    _update_alerts_about_many(result, now)
    return result


def _note_what_is_seen(
    result: Judgement,
    seen: Iterable[Seen],
    now: datetime,
    times_before: Mapping[tuple[str, str | None, str], int],
    unknown: frozenset[str],
) -> dict[str, str]:
    """Returns the environment of each tenant with a problem."""
    by_key = {problem.key: problem for problem in result.problems}
    environments = {}
    for one in seen:
        if one.tenant is not None and one.environment is not None:
            environments[one.tenant] = one.environment
        key, cause = (one.cause, one.tenant, one.subject), cause_of(one.cause)
        severity, problem = one.severity or cause.severity, by_key.pop(key, None)
        if problem is None:
            hold_until = now + timedelta(seconds=cause.hold_seconds)
            since, times = min(one.since or now, now), times_before.get(key, 0) + 1
            problem = Problem(*key, severity, one.message, dict(one.figures), since, hold_until, times=times)
            result.problems.append(problem)
            continue
        if problem.severity is Severity.WARN and severity is Severity.ERROR:
            problem.change(severity=severity)
            if problem.opened_at is not None and problem.part_of is None and problem.acknowledged_at is None:
                result.events.append(("worsened", problem))
        problem.change(message=one.message, figures=dict(one.figures), gone_since=None)
    for problem in by_key.values():
        if problem.subject != MANY and problem.cause not in unknown and problem.gone_since is None:
            problem.change(gone_since=now)
    return environments


def _close_what_is_over(result: Judgement, now: datetime) -> None:
    """One that has not alerted is over at once."""
    for problem in result.problems:
        if problem.gone_since is None:
            continue
        if problem.opened_at is None or now - problem.gone_since >= _recovery(problem):
            problem.change(closed_at=now)
            if problem.opened_at is not None and problem.part_of is None:
                result.events.append(("closed", problem))


def _recovery(problem: Problem) -> timedelta:
    """How long it must be gone: four times as long for each time that it came back within a day, from a minute on."""
    seconds = cause_of(problem.cause).recover_seconds
    if problem.times > 1:
        seconds = max(seconds, 60.0) * 4 ** min(problem.times - 1, 5)
    return min(timedelta(seconds=seconds), LONGEST_RECOVERY)


def _hold_back(result: Judgement, environments: Mapping[str, str], now: datetime) -> None:
    """What another problem explains is part of it, until that one is over and syncs had time to come back."""
    explaining: dict[str, list[Problem]] = defaultdict(list)
    for one in _open(result):
        for cause in cause_of(one.cause).explains if one.subject != MANY else ():
            explaining[cause].append(one)
    for problem in _open(result):
        if problem.opened_at is not None or problem.tenant is None:
            continue
        found = next((one for one in explaining[problem.cause] if _explains(one, problem.tenant, environments)), None)
        if found is not None:
            problem.change(part_of=found)
        elif problem.part_of is not None:
            seconds = max(AFTER_EXPLAINED_SECONDS, cause_of(problem.cause).hold_seconds)
            problem.change(part_of=None, hold_until=now + timedelta(seconds=seconds))


def _explains(one: Problem, tenant: str, environments: Mapping[str, str]) -> bool:
    if one.tenant is not None:
        return one.tenant == tenant
    return one.cause != "api_paused" or one.subject == environments.get(tenant)


def _is_ready(problem: Problem, now: datetime, silences: Sequence[Silence]) -> bool:
    return (
        problem.closed_at is None
        and problem.opened_at is None
        and problem.part_of is None
        and problem.hold_until <= now
        and not any(silence.covers(problem) for silence in silences)
    )


def _one_for_many(result: Judgement, ready: Sequence[Problem], now: datetime, many: int) -> Iterator[Problem]:
    """The alerts to open. Where a cause has many tenants at once, one for all of them; they become its parts."""
    by_cause: dict[str, list[Problem]] = defaultdict(list)
    for problem in ready:
        by_cause[problem.cause].append(problem)
    for cause, found in by_cause.items():
        of_tenants = [one for one in found if one.tenant is not None]
        yield from (one for one in found if one.tenant is None)
        told = [one for one in _open(result) if one.cause == cause and one.opened_at is not None]
        group = next((one for one in told if one.subject == MANY), None)
        lately = [one for one in told if one.part_of is None and one.opened_at and now - one.opened_at <= TOGETHER]
        if group is None and of_tenants and len(of_tenants) + len(lately) < many:
            yield from of_tenants
        elif of_tenants:
            if group is None:
                since = min(one.since for one in of_tenants)
                group = Problem(cause, None, MANY, Severity.WARN, "", {}, since, now)
                result.problems.append(group)
                yield group
            for one in of_tenants:
                one.change(opened_at=now, part_of=group)


def _update_alerts_about_many(result: Judgement, now: datetime) -> None:
    """What they say; told again when twice as many tenants have it, over when no tenant has it."""
    parts: dict[Problem, list[Problem]] = defaultdict(list)
    for one in _open(result):
        if one.part_of is not None and one.part_of.subject == MANY:
            parts[one.part_of].append(one)
    for group in [one for one in _open(result) if one.subject == MANY]:
        found = sorted(parts[group], key=lambda one: (one.severity is not Severity.ERROR, one.since, one.tenant))
        if not found:
            group.change(closed_at=now)
            result.events.append(("closed", group))
            continue
        told = group.figures.get("told", len(found))
        if group.acknowledged_at is None and len(found) >= 2 * told:
            told = len(found)
            result.events.append(("worsened", group))
        if found[0].severity is Severity.ERROR:
            group.change(severity=Severity.ERROR)
        worst = [{"tenant": one.tenant, "message": one.message} for one in found[:WORST_NAMED]]
        most = max(group.figures.get("most", 0), len(found))
        figures = {"tenants": len(found), "most": most, "told": told, "worst": worst}
        group.change(message=f"{len(found)} tenants", figures=figures)


def _open(result: Judgement) -> list[Problem]:
    return [one for one in result.problems if one.closed_at is None]
