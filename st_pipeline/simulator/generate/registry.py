"""Which function makes the records of which entity, in which order, and how many.

Here: registration. Not here: any record.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st_pipeline.simulator.generate.company import Company, Sizes

Record = dict[str, Any]
Make = Callable[["Company", Random, int], Iterable[Record]]
Change = Callable[["Company", Random, Record], Record]


@dataclass(frozen=True, slots=True)
class Generator:
    """`make(company, chance, count)` yields that many records; `after` names entities it depends on.

    `attached_to`: each new record of that entity is given to this generator first (a new customer gets its location).
    `follows`: it makes records for each of those, and `count` in addition; otherwise `per_newcomer` says how many.
    `when_asked`: its history is made up on first use, from the entities it depends on.
    """

    entity: str
    make: Make
    count: Callable[["Sizes"], int]
    after: tuple[str, ...]
    attached_to: str | None
    per_newcomer: int
    follows: bool
    when_asked: bool


GENERATORS: dict[str, Generator] = {}
CHANGES: dict[str, Change] = {}


def generates(
    entity: str,
    count: Callable[["Sizes"], int],
    *,
    after: tuple[str, ...] = (),
    attached_to: str | None = None,
    per_newcomer: int = 0,
    follows: bool = False,
    when_asked: bool = False,
) -> Callable[[Make], Make]:
    """Register a generator. `per_newcomer`: records made with each new customer."""

    def register(make: Make) -> Make:
        GENERATORS[entity] = Generator(
            entity, make, count, after, attached_to, per_newcomer, follows=follows, when_asked=when_asked
        )
        return make

    return register


def changes(entity: str) -> Callable[[Change], Change]:
    """Register the edit of one record: the keys that change. Without one, only `modifiedOn` changes."""

    def register(change: Change) -> Change:
        CHANGES[entity] = change
        return change

    return register


def in_order() -> list[Generator]:
    """Every generator, after those it depends on."""
    ordered: dict[str, Generator] = {}

    def visit(entity: str) -> None:
        if entity not in ordered and entity in GENERATORS:
            for earlier in GENERATORS[entity].after:
                visit(earlier)
            ordered[entity] = GENERATORS[entity]

    for entity in sorted(GENERATORS):
        visit(entity)
    return list(ordered.values())
