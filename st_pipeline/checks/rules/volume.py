"""Volume: what came on a day, against the same weekdays of the weeks before.

Here: the comparison, for the last whole day of the schedules' time zone. Not here: counting what comes (the sync log).

A feed that silently shows nothing looks like a quiet day; so does a holiday, which is why this check only warns.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from statistics import median
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status, Threshold

NAME, LOW, HIGH, LEAST = "volume", "low_share", "high_factor", "least_records"
WEEKS = 8
YOUNG = timedelta(weeks=4)
# Figures by day, of syncs more than 90 days ago, have no time zone.
CAME = """
    SELECT credential_id, entity, CAST(starts_at AT TIME ZONE :zone AS date) AS day,
           sum(records_created + records_updated) AS records
    FROM sync_history_entities
    WHERE credential_id = ANY(:of) AND starts_at >= :since AND starts_at < :until AND period <> 'day'
    GROUP BY 1, 2, 3
"""
COMPLETE = """
    SELECT credential_id, entity FROM completeness WHERE credential_id = ANY(:of) AND complete_through >= :until
"""
Days = Mapping[date, int]


def volume(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant. What came on a day is read once; the verdict on it keeps the figures for the rest of it."""
    zone = asked.settings.time_zone
    day = (asked.now.astimezone(zone) - timedelta(days=1)).date()
    known = {one.credential_id: one.figures for one in asked.stored(NAME).values()}
    came = {one: figures["came"] for one, figures in known.items() if figures.get("day") == str(day)}
    of = [one for one in asked.credential_ids if one not in came]
    if of:
        since = datetime.combine(day - timedelta(weeks=WEEKS), time(), zone)
        until = datetime.combine(day + timedelta(days=1), time(), zone)
        complete = {(row.credential_id, row.entity) for row in asked.rows(COMPLETE, of=of, until=until)}
        days: dict[int, dict[str, dict[date, int]]] = defaultdict(lambda: defaultdict(dict))
        for row in asked.rows(CAME, of=of, since=since, until=until, zone=zone.key):
            days[row.credential_id][row.entity][row.day] = int(row.records)
        came |= {one: _came(day, days[one], {name for name in days[one] if (one, name) in complete}) for one in of}
    for credential_id in asked.credential_ids:
        yield _finding(credential_id, day, came[credential_id], asked)


def _came(day: date, entities: Mapping[str, Days], complete: Collection[str]) -> dict[str, Any] | None:
    """By entity, how many records came on the day and how many usually do; None: the tenant is young."""
    first = min((min(days) for days in entities.values()), default=day)
    if day - first < YOUNG:
        return None
    usual = {name: _usual(days, day, first) for name, days in entities.items() if name in complete}
    return {
        name: {"records": entities[name].get(day, 0), "usual": number}
        for name, number in sorted(usual.items())
        if number is not None
    }


def _finding(credential_id: int, day: date, came: dict[str, Any] | None, asked: CheckInput) -> Finding:
    figures: dict[str, Any] = {"day": str(day), "came": came}
    if came is None:
        message = "There are not four weeks of history yet."
        return Finding(credential_id, TENANT, Status.NOT_CHECKABLE, message, figures)
    odd = {name: one for name, one in came.items() if _is_odd(credential_id, name, one, asked)}
    if not odd:
        message = f"On {day}, what came was about what comes on a {day:%A}."
        return Finding(credential_id, TENANT, Status.PASSED, message, figures)
    figures["entities"] = dict(sorted(odd.items(), key=_how_far))
    told = ", ".join(
        f"{name} {one['records']} instead of {one['usual']:g}" for name, one in figures["entities"].items()
    )
    message = f"On {day}, more or less came than usual on a {day:%A}: {told}."
    return Finding(credential_id, TENANT, Status.FAILED, message, figures)


def _is_odd(credential_id: int, name: str, one: Mapping[str, float], asked: CheckInput) -> bool:
    low, high, least = (asked.thresholds.value(credential_id, name, NAME, limit) for limit in (LOW, HIGH, LEAST))
    records, usual = one["records"], one["usual"]
    return usual >= least and (records < usual * low or records > usual * high)


def _usual(days: Days, day: date, first: date) -> float | None:
    """The median of the same weekdays before, from the second week on: the first load is no usual day."""
    before = [day - timedelta(weeks=weeks) for weeks in range(1, WEEKS + 1)]
    counted = [days.get(one, 0) for one in before if one > first]
    return median(counted) if len(counted) >= 3 else None  # noqa: PLR2004 - of fewer no median is robust


def _how_far(item: tuple[str, Mapping[str, float]]) -> float:
    """The farthest from the usual first."""
    one = item[1]
    ratio = (one["records"] + 1) / (one["usual"] + 1)
    return -max(ratio, 1 / ratio)


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.WARN,
        description="Yesterday about as many records were created and changed as on the same weekday of the last eight "
        "weeks (the median). Tenants with less than four weeks of history are not judged.",
        advice="A holiday, an import or a quiet season explains it, or syncs did not run (`st-pipeline sync-status`). "
        "If not, compare with ServiceTitan: the check `completeness` has its totals.",
        thresholds=(
            Threshold(LOW, 0.1, "A smaller share of the usual number is too little."),
            Threshold(HIGH, 10, "More than so many times the usual number is too much."),
            Threshold(LEAST, 20, "Entities with fewer records on a usual day are not judged."),
        ),
        rule=volume,
        reads_all_rows=True,
    ),
)
