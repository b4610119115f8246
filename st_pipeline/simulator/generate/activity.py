"""Time moves: records are created, changed, merged, deleted and brought back.

Here: what an ordinary day does to a company, on demand and coherent. Not here: HTTP.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import cycle, islice
from random import Random
from typing import Any

import msgspec

from st_pipeline.simulator.clock import Clock
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.invoice_changes import close_account, reopen_account
from st_pipeline.simulator.generate.registry import CHANGES, in_order
from st_pipeline.simulator.store import Row

ACTIONS = ("created", "changed", "merged", "deactivated", "deleted", "reactivated", "undeleted")
_LUCKY_TRIES = 500
Done = dict[str, dict[str, list[int]]]

# What a bare number means: so many, spread over these in turn.
_SPREAD = {
    "changed": ("customers", "invoices", "customer_contacts", "memberships", "locations"),
    "merged": ("customers",),
    "deactivated": ("customers", "locations"),
    "deleted": ("invoices", "customer_contacts", "memberships"),
    "reactivated": ("customers", "locations"),
    "undeleted": ("invoices", "customer_contacts", "memberships"),
}


def advance(company: Company, clock: Clock, asked: Mapping[str, int | Mapping[str, int]]) -> Done:
    """Do what is asked, every change at its own tick of `clock`. Returns ids by entity and action.

    A number of created means customers, each with all that belongs to one; a mapping names entities. Fewer come back
    where there was nothing left to change.
    """
    company.now, company.log = clock, []
    for action in ACTIONS:
        wanted = asked.get(action) or 0
        if action == "created":
            _create(company, wanted)
        else:
            _apply(company, action, _spread(action, wanted))
    company.settle()
    done: Done = {}
    for entity, action, record_id in company.log:
        ids = done.setdefault(entity, {}).setdefault(action, [])
        if record_id not in ids:
            ids.append(record_id)
    return done


def _spread(action: str, wanted: int | Mapping[str, int]) -> Mapping[str, int]:
    if not isinstance(wanted, int):
        return wanted
    counts: dict[str, int] = {}
    for entity in islice(cycle(_SPREAD[action]), wanted):
        counts[entity] = counts.get(entity, 0) + 1
    return counts


def _create(company: Company, wanted: int | Mapping[str, int]) -> None:
    new_customers = wanted if isinstance(wanted, int) else 0
    counts = {"customers": new_customers} if isinstance(wanted, int) else wanted
    for generator in in_order():
        count = counts.get(generator.entity, 0) + new_customers * generator.per_newcomer
        for record_id in company.generate(generator.entity, count) if count else ():
            company.log.append((generator.entity, "created", record_id))
    company.newcomers.clear()


def _apply(company: Company, action: str, counts: Mapping[str, int]) -> None:
    step = _STEPS[action]
    for entity, count in counts.items():
        chance, suits = company.chance(entity), _SUITS[action]
        for row in islice(_rows(company, entity, chance, suits), count):
            step(company, entity, row)
            company.log.append((entity, action, row.key))


def _rows(company: Company, entity: str, chance: Random, suits: Callable[[Row], bool]) -> Iterator[Row]:
    """Suitable rows at random, each once: by chance first, which is enough where most suit, then by looking at all."""
    store, seen = company.stores[entity], set()
    for _ in range(min(len(store), _LUCKY_TRIES)):
        row = store.rows[store.key_at(int(chance.random() * len(store)))]
        if row.key not in seen and row.made and suits(row):
            seen.add(row.key)
            yield row
    keys = [key for key in store.rows if key not in seen]
    for key in chance.sample(keys, len(keys)):
        if store.rows[key].made and suits(store.rows[key]):
            yield store.rows[key]


def _is_merged(row: Row) -> bool:
    return b'"mergedToId":' in row.body and b'"mergedToId":null' not in row.body


def _is_live(row: Row) -> bool:
    return row.active and not row.deleted


_SUITS: dict[str, Callable[[Row], bool]] = {
    "changed": _is_live,
    "merged": _is_live,
    "deactivated": _is_live,
    "deleted": lambda row: not row.deleted,
    "reactivated": lambda row: not row.active and not row.deleted and not _is_merged(row),
    "undeleted": lambda row: row.deleted,
}


def _now(company: Company) -> int:
    if company.now is None:
        raise RuntimeError("time moves only through advance")
    return company.now.now()


def _change(company: Company, entity: str, row: Row) -> None:
    make: Callable[[Company, Random, dict[str, Any]], dict[str, Any]] | None = CHANGES.get(entity)
    changes = make(company, company.chance(entity), row.as_dict()) if make else {}
    company.stores[entity].rewrite(row, changes, _now(company))


def _merge(company: Company, entity: str, row: Row) -> None:
    """ServiceTitan: a merged customer stays as an inactive row with `mergedToId`; old records keep naming it."""
    survivors = _rows(company, entity, company.chance(entity), lambda other: _is_live(other) and other is not row)
    survivor = next(survivors, None)
    changes = {"active": False, "mergedToId": survivor.key if survivor else None}
    company.stores[entity].rewrite(row, changes, _now(company))


def _deactivate(company: Company, entity: str, row: Row) -> None:
    company.stores[entity].rewrite(row, {"active": False}, _now(company))


def _reactivate(company: Company, entity: str, row: Row) -> None:
    company.stores[entity].rewrite(row, {"active": True}, _now(company))


def _delete(company: Company, entity: str, row: Row) -> None:
    delete(company, entity, row, _now(company))


def _undelete(company: Company, entity: str, row: Row) -> None:
    store = company.stores[entity]
    if entity == "invoices":
        reopen_account(company, row.as_dict())
    store.set_deleted(row, deleted=False)
    store.rewrite(row, {"active": True}, _now(company))


def delete(company: Company, entity: str, row: Row, now: int) -> None:
    """Take a row out of every list; the feed keeps it with `active` false."""
    store = company.stores[entity]
    if entity == "invoices" and row.made:
        close_account(company, row.as_dict())
    store.set_deleted(row, deleted=True)
    try:
        says_active = "active" in row.as_dict()
    except msgspec.DecodeError:  # inserted as something else: it keeps its bytes
        row.active, row.changed = False, now
    else:
        store.rewrite(row, {"active": False} if says_active else {}, now)


_STEPS: dict[str, Callable[[Company, str, Row], None]] = {
    "changed": _change,
    "merged": _merge,
    "deactivated": _deactivate,
    "deleted": _delete,
    "reactivated": _reactivate,
    "undeleted": _undelete,
}
