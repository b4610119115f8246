"""Changes over time: records are created, changed, merged, deleted and restored.

Here: such changes on demand, consistent across entities. Not here: HTTP.
"""

from collections.abc import Callable, Mapping
from itertools import chain, cycle, islice
from random import Random
from typing import Any

import msgspec

from st_pipeline.simulator.api_catalogue import catalogue_entries, lists_of
from st_pipeline.simulator.clock import Clock
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.ledger import close_account, reopen_account
from st_pipeline.simulator.generate.payment_changes import apply_again, take_back
from st_pipeline.simulator.generate.registry import CHANGES, in_order
from st_pipeline.simulator.store import Row

ACTIONS = ("created", "changed", "merged", "deactivated", "deleted", "reactivated", "undeleted")
Done = dict[str, dict[str, list[int]]]

# A bare number means: so many changes, spread over these in turn ...
_SPREAD = {
    "changed": ("customers", "invoices", "customer_contacts", "memberships", "locations"),
    "merged": ("customers",),
    "deactivated": ("customers", "locations"),
    "deleted": ("invoices", "customer_contacts", "memberships"),
    "reactivated": ("customers", "locations"),
    "undeleted": ("invoices", "customer_contacts", "memberships"),
}
# ... and as many of these at random, by weight, if their history is made up. They change no record of the above.
_BESIDES: dict[str, dict[str, int]] = {
    "changed": {
        "jobs": 30, "appointments": 20, "estimates": 15, "payments": 10, "equipment": 6, "location_contacts": 6,
        "technicians": 5, "business_units": 1, "job_types": 1, "call_reasons": 1, "campaigns": 2, "tag_types": 1,
        "custom_fields": 2,
    },
    "deactivated": {"technicians": 2, "equipment": 6, "campaigns": 1, "job_types": 1},
    "deleted": {"estimates": 3, "equipment": 2, "location_contacts": 3, "appointments": 1},
    "reactivated": {"technicians": 2, "equipment": 6, "campaigns": 1, "job_types": 1},
    "undeleted": {"estimates": 3, "equipment": 2, "location_contacts": 3, "appointments": 1},
}  # fmt: skip


def advance(company: Company, clock: Clock, asked: Mapping[str, int | Mapping[str, int]]) -> Done:
    """Make these changes, each at its own tick of `clock`. Returns ids by entity and action.

    `created` as a number means customers, each with all that belongs to a customer; a mapping names entities. There are
    fewer ids when there was nothing left to change.
    """
    company.now, company.log = clock, []
    company.make(*named_in(asked))
    for action in ACTIONS:
        wanted = asked.get(action) or 0
        if action == "created":
            _create(company, wanted)
        else:
            _apply(company, action, _spread(company, action, wanted))
    company.settle()
    done: Done = {}
    for entity, action, record_id in company.log:
        ids = done.setdefault(entity, {}).setdefault(action, [])
        if record_id not in ids:
            ids.append(record_id)
    return done


def named_in(asked: Mapping[str, int | Mapping[str, int]]) -> set[str]:
    """The entities named; their history must exist before they can change."""
    named = chain.from_iterable(counts for counts in asked.values() if not isinstance(counts, int))
    return set(chain.from_iterable(map(lists_of, named)))


def _spread(company: Company, action: str, wanted: int | Mapping[str, int]) -> Mapping[str, int]:
    if not isinstance(wanted, int):
        return wanted
    counts: dict[str, int] = {}
    besides = {
        entity: weight
        for entity, weight in _BESIDES.get(action, {}).items()
        if company.made.issuperset(lists_of(entity))
    }
    others = company.chance("time moves").choices(list(besides), list(besides.values()), k=wanted) if besides else ()
    for entity in chain(islice(cycle(_SPREAD[action]), wanted), others):
        counts[entity] = counts.get(entity, 0) + 1
    return counts


def _create(company: Company, wanted: int | Mapping[str, int]) -> None:
    new_customers = wanted if isinstance(wanted, int) else 0
    counts = {"customers": new_customers} if isinstance(wanted, int) else _first_lists(wanted)
    for generator in in_order():
        if generator.entity not in company.made:
            continue
        count = counts.get(generator.entity, 0) + new_customers * generator.per_newcomer
        waiting = generator.follows and company.newcomers[generator.entity]
        for record_id in company.generate(generator.entity, count) if count or waiting else ():
            company.log.append((generator.entity, "created", record_id))
    company.newcomers.clear()


def _first_lists(counts: Mapping[str, int]) -> dict[str, int]:
    """New custom field types go into the list of jobs unless the owner is named."""
    return {next(iter(lists_of(entity)), entity): count for entity, count in counts.items()}


def _apply(company: Company, action: str, counts: Mapping[str, int]) -> None:
    step, suits = _STEPS[action], _SUITS[action]
    for asked, count in counts.items():
        lists = lists_of(asked)  # one, except for custom fields, whose lists take turns
        for place, entity in enumerate(lists if _can(action, lists[0]) else ()):
            share = count // len(lists) + (place < count % len(lists))
            for row in islice(company.suitable(entity, company.chance(entity), suits), share):
                step(company, entity, row)
                company.log.append((asked, action, row.key))


def _can(action: str, entity: str) -> bool:
    """Can this entity be merged or deactivated? Only if its records have the key for it."""
    entry = catalogue_entries()[entity]
    keys = {field.name for field in entry.fields + entry.export_only_fields}
    return _NEEDS.get(action, "id") in keys


_NEEDS = {"merged": "mergedToId", "deactivated": "active", "reactivated": "active"}


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
        raise RuntimeError("records change only through advance")
    return company.now.now()


def _change(company: Company, entity: str, row: Row) -> None:
    make: Callable[[Company, Random, dict[str, Any]], dict[str, Any]] | None = CHANGES.get(entity)
    changes = make(company, company.chance(entity), row.as_dict()) if make else {}
    company.stores[entity].rewrite(row, changes, _now(company))


def _merge(company: Company, entity: str, row: Row) -> None:
    """ServiceTitan: a merged customer stays as an inactive row with `mergedToId`; old records still name it."""
    survivors = company.suitable(entity, company.chance(entity), lambda other: _is_live(other) and other is not row)
    survivor = next(survivors, None)
    changes = {"active": False, "mergedToId": survivor.key if survivor else None}
    company.stores[entity].rewrite(row, changes, _now(company))


def _deactivate(company: Company, entity: str, row: Row) -> None:
    _let_go(company, entity, row)
    company.stores[entity].rewrite(row, {"active": False}, _now(company))


def _reactivate(company: Company, entity: str, row: Row) -> None:
    changes = apply_again(company, row.as_dict()) if entity == "payments" else {}
    company.stores[entity].rewrite(row, {"active": True, **changes}, _now(company))


def _delete(company: Company, entity: str, row: Row) -> None:
    delete(company, entity, row, _now(company))


def _undelete(company: Company, entity: str, row: Row) -> None:
    if entity == "invoices":
        reopen_account(company, row.as_dict())
    company.stores[entity].set_deleted(row, deleted=False)
    if _can("reactivated", entity):
        _reactivate(company, entity, row)
    else:
        company.stores[entity].rewrite(row, {}, _now(company))


def delete(company: Company, entity: str, row: Row, now: int) -> None:
    """Remove a row from every list; the feed keeps it with `active` false."""
    store = company.stores[entity]
    if row.made:
        _let_go(company, entity, row)
        if entity == "invoices":
            close_account(company, row.as_dict())
    store.set_deleted(row, deleted=True)
    try:
        says_active = "active" in row.as_dict()
    except msgspec.DecodeError:  # a test inserted something else: it keeps its bytes
        row.active, row.changed = False, now
    else:
        store.rewrite(row, {"active": False} if says_active else {}, now)


def _let_go(company: Company, entity: str, row: Row) -> None:
    """A payment that is voided or deleted no longer applies to an invoice; one that was voided before did not."""
    if entity == "payments" and row.active:
        take_back(company, row.as_dict())


_STEPS: dict[str, Callable[[Company, str, Row], None]] = {
    "changed": _change,
    "merged": _merge,
    "deactivated": _deactivate,
    "deleted": _delete,
    "reactivated": _reactivate,
    "undeleted": _undelete,
}
