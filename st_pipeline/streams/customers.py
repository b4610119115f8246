"""Customers as both streams need them: by id, with merges followed to the customer that survived.

Here: reading them, the survivor, the parts of an address. Not here: contacts and memberships (members.py), names
(names.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, TextClause, text

COMMERCIAL = "Commercial"


@dataclass(slots=True)
class Customer:
    """One row of st_customers, what the streams use of it. `exists`: the source has it still."""

    st_id: int
    name: str | None
    is_commercial: bool
    street: str | None
    unit: str | None
    city: str | None
    state: str | None
    zip_code: str | None
    merged_to_id: int | None
    exists: bool


# By arrays of ids and not by joins: a freshly loaded table has no statistics yet, and the plan that Postgres then takes
# for a recursive join needs 5 s for a chunk.
FIELDS = f"""
    SELECT st_id, name, type IS NOT DISTINCT FROM '{COMMERCIAL}', address_street, address_unit, address_city,
           address_state, address_zip, merged_to_id, deleted_at IS NULL
    FROM st_customers WHERE credential_id = :credential_id
"""  # noqa: S608 - a constant
BY_ID = text(f"{FIELDS} AND st_id = ANY(:ids)")
MERGED_INTO = text(f"{FIELDS} AND merged_to_id = ANY(:ids)")


def read_customers(connection: Connection, credential_id: int, ids: Iterable[int]) -> dict[int, Customer]:
    """These customers and those they were merged into, by id."""
    found: dict[int, Customer] = {}
    wanted = set(ids)
    while wanted:
        new = _read(connection, credential_id, BY_ID, wanted)
        found |= new
        wanted = {customer.merged_to_id for customer in new.values() if customer.merged_to_id} - found.keys()
    return found


def add_merged(connection: Connection, credential_id: int, customers: dict[int, Customer]) -> None:
    """Add those that were merged into any of these customers."""
    ids = set(customers)
    while ids:
        new = _read(connection, credential_id, MERGED_INTO, ids)
        ids = new.keys() - customers.keys()
        customers.update(new)


def _read(connection: Connection, credential_id: int, query: TextClause, ids: Iterable[int]) -> dict[int, Customer]:
    rows = connection.execute(query, {"ids": list(ids), "credential_id": credential_id})
    return {row[0]: Customer(*row) for row in rows}


def survivor_id(customers: dict[int, Customer], st_id: int) -> int:
    """The customer that a customer ended in; itself when it was not merged. A circle of merges has none: itself."""
    passed = {st_id}
    last = st_id
    while (customer := customers.get(last)) is not None and customer.merged_to_id is not None:
        last = customer.merged_to_id
        if last in passed:
            return st_id
        passed.add(last)
    return last


def street_line(street: str | None, unit: str | None) -> str | None:
    """`12 Oak Street, Apt 3`. Blank parts are left out."""
    return ", ".join(part.strip() for part in (street, unit) if part and part.strip()) or None
