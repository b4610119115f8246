"""What dies, and when: the plan of one kill, and the places of the engine where it can happen.

Here: kinds, places, drawing a plan. Not here: killing (worker.py for places, lab.py for moments in time).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Any

from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from st_pipeline.postgres import leases, soft_deletes, stream_pending, write_chunk
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.streams import tables
from st_pipeline.sync import entity, stream

SHARE_AT_A_PLACE = 0.6


class Kind(StrEnum):
    """What is killed."""

    WORKER = "worker"
    POSTGRES = "Postgres"
    BOTH = "worker and Postgres"
    BACKEND = "the worker's backend"


WEIGHTS = {Kind.WORKER: 8, Kind.POSTGRES: 5, Kind.BOTH: 3, Kind.BACKEND: 4}


@dataclass(frozen=True, slots=True)
class Place:
    """A function of the engine; `before` it runs, else after. After one that did nothing (0, [], False) is no place."""

    owner: Any
    name: str
    before: bool = False


PLACES = {
    "the lease is taken": Place(leases, "take"),
    "a page is fetched, nothing written": Place(ServiceTitanClient, "get"),
    "a chunk is prepared, nothing of it written": Place(entity, "prepare_chunk"),
    "a chunk's rows are written, not committed": Place(write_chunk, "_write_rows"),
    "before a commit": Place(PGDialect_psycopg, "do_commit", before=True),
    "after a commit": Place(PGDialect_psycopg, "do_commit"),
    "the list is walked for presence": Place(soft_deletes, "remember_seen"),
    "inactive rows are found, to be looked up": Place(soft_deletes, "inactive_rows"),
    "rows are counted, for the list's total": Place(soft_deletes, "held"),
    "rows are marked as deleted": Place(soft_deletes, "mark_deleted"),
    "rows that a chunk will mark are found": Place(soft_deletes, "unmarked"),
    "stream keys are noted": Place(stream_pending, "put"),
    "a stream's chunk is prepared, nothing of it written": Place(stream, "_prepare_chunk"),
    "stream keys are taken out": Place(stream_pending, "take_out"),
    "stream records are written, not committed": Place(tables, "write_records"),
    "a stream's chunk is committed": Place(stream, "_build_chunk"),
    "the sync log is closed, not committed": Place(SyncLog, "ended"),
}


@dataclass(frozen=True, slots=True)
class KillPlan:
    """One kill: at the `nth` time the worker comes by `place`, or (None) `after_seconds` of the sync."""

    kind: Kind
    place: str | None = None
    nth: int = 0
    after_seconds: float = 0.0

    def __str__(self) -> str:
        when = f"{self.after_seconds:.3f} s after its begin" if self.place is None else f"{self.place}, time {self.nth}"
        return f"{self.kind} killed: {when}"


def draw(random: Random, passed: Mapping[str, int], seconds: float) -> KillPlan:
    """A plan for a sync like one that took so many `seconds` and `passed` each place so often."""
    kind = random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if random.random() >= SHARE_AT_A_PLACE:
        return KillPlan(kind, after_seconds=random.uniform(0, seconds))
    place = random.choice([place for place in PLACES if passed.get(place)])
    return KillPlan(kind, place, random.randint(1, passed[place]))


def watch(passed: Callable[[str], None], places: Iterable[str] = PLACES) -> None:
    """From here on let this process call `passed` whenever it comes by one of the places."""
    for place in places:
        _wrap(PLACES[place], lambda place=place: passed(place))  # type: ignore[misc]


def _wrap(place: Place, passed: Callable[[], None]) -> None:
    function = getattr(place.owner, place.name)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if place.before:
            passed()
        result = function(*arguments, **options)
        if not place.before and (result is None or result):
            passed()
        return result

    setattr(place.owner, place.name, wrapped)
