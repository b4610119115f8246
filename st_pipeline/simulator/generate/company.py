"""One made-up company: its records, random numbers and time.

Here: what generators share: ids, timestamps, random picks, balances. Not here: any entity.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from st_pipeline.simulator.clock import TICKS_PER_DAY, Clock, to_ticks
from st_pipeline.simulator.filters import narrow
from st_pipeline.simulator.generate.catalogue import Catalogue
from st_pipeline.simulator.generate.registry import GENERATORS, Record, in_order
from st_pipeline.simulator.store import EntityStore, Row

SEEDED_UNTIL = to_ticks("2026-11-01T00:00:00Z")  # fixed, so that the same seed gives the same bytes on any day
_HISTORY_DAYS = 6 * 365
_BULK_EDITS_SHARE, _NEVER_EDITED_BELOW = 0.03, 0.15
_PICKS_BEFORE_GIVING_UP, _LUCKY_TRIES = 50, 500


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many records a company has; the other numbers follow from customers and invoices."""

    customers: int
    invoices: int

    @property
    def business_units(self) -> int:
        """Four to twelve."""
        return min(12, 4 + self.invoices // 1000)

    @property
    def technicians(self) -> int:
        """Ten to forty."""
        return min(40, 10 + self.invoices // 400)


@dataclass
class Company:
    """State of the generators of one tenant.

    `now` is None while history is made up (timestamps are random, in the past), then it is the clock. `made`: entities
    whose history exists, and which change over time. That of the others is made up on first use, from the records of
    that moment.
    """

    seed: int
    stores: dict[str, EntityStore]
    until: int = SEEDED_UNTIL
    sizes: Sizes = field(default_factory=lambda: Sizes(0, 0))
    now: Clock | None = None
    made: set[str] = field(default_factory=set)
    appointments_of: dict[int, list[int]] = field(default_factory=dict)
    newcomers: dict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    log: list[tuple[str, str, int]] = field(default_factory=list)
    _chances: dict[str, Random] = field(default_factory=dict)
    _last_ids: dict[str, int] = field(default_factory=dict)
    _drawn: tuple[int, int] | None = None
    _buried: set[tuple[str, int]] = field(default_factory=set)
    _debts: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self.catalogue = Catalogue.of(self.seed)
        chance = Random(f"{self.seed}:bulk edits")  # noqa: S311 - made-up data, not secrets
        self._bulk_edits = sorted(self.until - int(chance.random() * 700 * TICKS_PER_DAY) for _ in range(3))

    def chance(self, entity: str) -> Random:
        """Random numbers of the entity's own, so that a new entity does not change the data of the others."""
        if entity not in self._chances:
            self._chances[entity] = Random(f"{self.seed}:{entity}")  # noqa: S311
        return self._chances[entity]

    def new_id(self, entity: str) -> int:
        """Ids of 9 to 12 digits with gaps, never used twice within the entity."""
        chance = self.chance(entity + " ids")
        if entity not in self._last_ids:
            digits = 9 + int(chance.random() * 4)
            self._last_ids[entity] = int((1 + chance.random() * 7) * 10 ** (digits - 1))
        self._last_ids[entity] += 1 + int(chance.random() * 40)
        return self._last_ids[entity]

    def moments(self, chance: Random, after: int = 0) -> tuple[int, int]:
        """`createdOn` and `modifiedOn` of the next record, in ticks: now, or in history some time after `after`."""
        self._drawn = self._now_twice(self.now) if self.now is not None else self._past(chance, after)
        return self._drawn

    def moments_from(self, chance: Random, created: int, edited_after: int = 0) -> tuple[int, int]:
        """Like `moments`, for a record that was created at `created`; it may have been edited after `edited_after`."""
        past = self.now is None
        self._drawn = (created, self._edited(chance, max(created, edited_after))) if past else self.moments(chance)
        return self._drawn

    def _now_twice(self, clock: Clock) -> tuple[int, int]:
        moment = clock.now()
        return moment, moment

    def _past(self, chance: Random, after: int) -> tuple[int, int]:
        start = max(after, self.until - _HISTORY_DAYS * TICKS_PER_DAY)
        created = start + int(chance.random() * max(0, self.until - start))
        return created, self._edited(chance, created)

    def _edited(self, chance: Random, created: int) -> int:
        dice = chance.random()
        if dice < _BULK_EDITS_SHARE:  # rows edited in bulk have exactly the same time
            return max(self._bulk_edits[int(dice * 100) % 3], created)
        if dice < _NEVER_EDITED_BELOW:
            return created
        return created + int(max(0, self.until - created) * chance.random() ** 2)

    def today(self) -> int:
        """The time from which ages are counted."""
        return self.now.peek() if self.now is not None else self.until

    def pick_row(self, entity: str, chance: Random, live_and_active: bool = True) -> Row | None:
        """A random row that a generator made; None when there is none."""
        store = self.stores[entity]
        for _ in range(_PICKS_BEFORE_GIVING_UP if len(store) else 0):
            row = store.rows[store.key_at(int(chance.random() * len(store)))]
            if row.made and not row.deleted and (row.active or not live_and_active):
                return row
        return None

    def suitable(self, entity: str, chance: Random, suits: Callable[[Row], bool]) -> Iterator[Row]:
        """Suitable rows in random order, each once: by random picks first, as most rows suit, then by a search."""
        store, seen = self.stores[entity], set()
        for _ in range(min(len(store), _LUCKY_TRIES)):
            row = store.rows[store.key_at(int(chance.random() * len(store)))]
            if row.key not in seen and row.made and suits(row):
                seen.add(row.key)
                yield row
        keys = [key for key in store.rows if key not in seen]
        for key in chance.sample(keys, len(keys)):
            if store.rows[key].made and suits(store.rows[key]):
                yield store.rows[key]

    def ids(self, entity: str) -> list[int]:
        """Ids of the rows that a new record may refer to."""
        return [row.key for row in self.stores[entity].rows.values() if row.made and row.active and not row.deleted]

    def records(self, entity: str) -> list[Record]:
        """The records of these rows; for small lists."""
        rows = self.stores[entity].rows
        return [rows[key].as_dict() for key in self.ids(entity)]

    def record(self, entity: str, key: int) -> Record | None:
        """One record, if a generator made it."""
        row = self.stores[entity].rows.get(key)
        return row.as_dict() if row is not None and row.made else None

    def heads(self, entity: str, *names: str, keys: Iterable[int] | None = None) -> Iterator[Any]:
        """Objects with these keys of every record that a generator made, or of those with `keys`."""
        rows = self.stores[entity].rows
        for row in list(rows.values()) if keys is None else [rows[key] for key in keys]:
            if row.made:
                yield narrow(row, *names)

    def touch(self, entity: str, key: int, changes: Record) -> None:
        """Change a record because another one changed. Nothing happens when its history is not made up yet."""
        row = self.stores[entity].rows.get(key)
        if row is not None and row.made and self.now is not None:
            self.stores[entity].rewrite(row, changes, self.now.now())
            self.log.append((entity, "changed", key))

    def put(self, entity: str, record: Record) -> None:
        """Add a record that follows from another change."""
        self.log.append((entity, "created", self.stores[entity].add(record, self._drawn).key))
        self._drawn = None

    def owner(self, entity: str, of: str, chance: Random) -> Row | None:
        """The `of` row that the next `entity` belongs to: new ones first, then any."""
        waiting = self.newcomers[entity]
        if waiting:
            return self.stores[of].rows[waiting.popleft()]
        return self.pick_row(of, chance, live_and_active=self.now is not None)

    def _followers(self, entity: str) -> list[tuple[deque[int], int]]:
        """The queues for each new record of `entity`, and how often it is queued; in history only customers, once."""
        if self.now is None and entity != "customers":
            return []
        attached = [one for one in in_order() if one.attached_to == entity]
        if self.now is None:
            return [(self.newcomers[one.entity], 1) for one in attached]
        due = [one for one in attached if one.entity in self.made]
        return [(self.newcomers[one.entity], 1 if one.follows else one.per_newcomer) for one in due]

    def bury(self, entity: str, record_id: int) -> None:
        """Mark the record that is yielded next as deleted: in the feed, not in lists."""
        self._buried.add((entity, record_id))

    def owe(self, customer_id: int, cents: int) -> None:
        """Change a customer's balance with that of its invoices."""
        if cents:
            self._debts[customer_id] += cents

    def settle(self) -> None:
        """Write the changed balances. ServiceTitan: a new balance changes the customer's `modifiedOn`."""
        store = self.stores["customers"]
        for customer_id, cents in self._debts.items():
            row = store.rows.get(customer_id)
            balance = _balance(row) if row and cents else None
            if row and balance is not None:
                balance = (round(balance * 100) + cents) / 100
                store.rewrite(row, {"balance": balance}, self.now.now() if self.now else None, accounting=True)
                if self.now:
                    self.log.append(("customers", "changed", customer_id))
        self._debts.clear()

    def generate(self, entity: str, count: int) -> list[int]:
        """Make `count` records of an entity and store them. Returns their ids."""
        followers, store, made = self._followers(entity), self.stores[entity], []
        for record in GENERATORS[entity].make(self, self.chance(entity), count):
            row = store.add(record, self._drawn)
            self._drawn = None
            row.deleted = (entity, row.key) in self._buried
            made.append(row.key)
            for waiting, times in followers:
                waiting.extend([row.key] * times)
        return made

    def make(self, *entities: str) -> None:
        """Make up the history of these entities, after those they depend on, unless it exists."""
        for entity in entities:
            generator = GENERATORS.get(entity)
            if entity in self.made or generator is None:
                continue
            self.make(*generator.after)
            now, self.now = self.now, None
            try:
                self.generate(entity, generator.count(self.sizes))
            finally:
                self.now = now
            self._buried.clear()
            self.made.add(entity)


def _balance(customer: Row) -> float | None:
    """None for a record that a test inserted without one."""
    try:
        balance = customer.as_dict().get("balance")
    except msgspec.DecodeError:
        return None
    return float(balance) if isinstance(balance, int | float) else None


def seed_company(company: Company, sizes: Sizes) -> None:
    """Make up the history, except of entities whose history is made up on first use."""
    company.sizes = sizes
    company.make(*(generator.entity for generator in in_order() if not generator.when_asked))
    company.newcomers.clear()


def leave_empty(company: Company) -> None:
    """Make a company without history."""
    company.made.update(GENERATORS)
