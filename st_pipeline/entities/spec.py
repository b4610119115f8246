"""What describes an entity: the classes that this room's data is written in.

Here: EntitySpec, Column, Rule and the checks of their consistency. Not here: any one entity; reading, checking and
writing. The typed decoder, the pandera schema, the table, the COPY columns, Dagster's column schema and the docs are
all made from an EntitySpec, so a column is declared once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import NamedTuple, Protocol

from st_pipeline.entities.meanings import MEANINGS
from st_pipeline.entities.meanings_of_work import MEANINGS_OF_WORK

KEY = "st_id"
CREATED = "created_on"
MODIFIED = "modified_on"


class AddedColumn(NamedTuple):
    """A column that the pipeline adds to a table, with its Postgres type."""

    name: str
    type: str
    comment: str


# It comes first in the key, so one tenant's row can never replace another's.
CREDENTIAL = AddedColumn("credential_id", "bigint", "the tenant: tenants.credential_id")
# What the pipeline adds to every table, after the entity's own columns.
BOOKKEEPING = (
    AddedColumn("full_data", "json", "the record as it was received; null where the settings keep none"),
    AddedColumn("record_hash", "bigint", "fingerprint of the record as received: the same means that nothing changed"),
    AddedColumn("spec_version", "integer", "version of the table's columns with which the row was written"),
    AddedColumn("local_synced_at", "timestamp with time zone", "when st-pipeline last wrote the row"),
    AddedColumn(
        "deleted_at",
        "timestamp with time zone",
        "when it was found that ServiceTitan no longer has the record; null: it does",
    ),
)
RESERVED = frozenset(column.name for column in (CREDENTIAL, *BOOKKEEPING))


class Kind(Enum):
    """What a column holds. The value is its Postgres type."""

    INTEGER = "bigint"  # ServiceTitan: ids are int64; nine digits and more are normal
    TEXT = "text"
    BOOLEAN = "boolean"
    DECIMAL = "numeric"  # exact; accounting sends text, the other areas JSON numbers
    FLOAT = "double precision"
    TIMESTAMP = "timestamp with time zone"  # ServiceTitan: UTC, up to seven fractional digits
    DAY = "date"  # a calendar day: midnight `Z` in most areas, without a time in equipment
    JSON = "jsonb"  # lists and what has no fixed shape


class DeletionSign(Enum):
    """How a full sync learns that a record was deleted."""

    ABSENT = "missing from a complete reading of the list"
    INACTIVE = (
        "missing from a complete reading of the list, or inactive in the feed (it is not documented whether the list "
        "shows inactive records)"
    )


class Group(StrEnum):
    """The part of Dagster's graph that an entity belongs to; no part depends on a later one."""

    REFERENCE = "reference"
    CUSTOMERS = "customers"
    JOBS = "jobs"
    WORK = "work"  # what follows from jobs: appointments, estimates, invoices, payments, equipment


class Severity(StrEnum):
    """What a broken rule does to a record."""

    REJECT = "reject"  # stored as a reject, with the reason
    WARN = "warn"  # written, and counted


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `source` is the path in the record (`customer.id`), `name` defaults to its snake_case form.

    `description`: what it means here, where that is not what its path means everywhere (meanings.py).
    `known_values`: usual values of an open enum. `never_null`: ServiceTitan documents it, and no record is known that
    breaks it. Other values and nulls are stored all the same, and counted as drift. `feed_only`: lists do not have it,
    so a record read from a list would lose it.
    """

    source: str
    kind: Kind
    name: str = ""
    known_values: tuple[str, ...] = ()
    description: str = ""
    feed_only: bool = False
    never_null: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", snake_case(self.source))

    @property
    def path(self) -> tuple[str, ...]:
        """The keys that lead to the value."""
        return tuple(self.source.split("."))

    @property
    def meaning(self) -> str:
        """What it means, in a phrase; empty where nobody has written it yet, which a test refuses."""
        return self.description or MEANINGS.get(self.source) or MEANINGS_OF_WORK.get(self.source, "")

    @property
    def comment(self) -> str:
        """All that the UI, SQL comments and the docs say of it."""
        unit = "a calendar day" if self.kind is Kind.DAY else ""
        usual = f"usually {', '.join(self.known_values)}" if self.known_values else ""
        where = "in the feed only" if self.feed_only else ""
        return "; ".join(part for part in (self.meaning, unit, usual, where) if part)


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule about one column. A value breaks it when it is null and `not_null`, or outside `minimum`…`maximum`.

    A null does not break a bound: everything but the id may be null in a ServiceTitan record. Bounds are for integers
    and days.
    """

    name: str
    column: str
    severity: Severity
    not_null: bool = False
    minimum: int | date | None = None
    maximum: int | date | None = None


class Checked(Protocol):
    """What a table is checked against: its columns and its rules."""

    def __hash__(self) -> int: ...

    @property
    def name(self) -> str:
        """The entity's or stream's name."""

    @property
    def table(self) -> str:
        """The table's name."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Its columns in order."""

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules about them."""


@dataclass(frozen=True, slots=True, eq=False)
class EntitySpec:
    """One kind of ServiceTitan record.

    `list_path`, `feed_path`: after the API's base address, with `{tenant}`. `feed_path` None: no export feed is used.
    `list_params`: what a complete list needs; ServiceTitan: lists show active records only unless asked. `sort`: the
    order in which new records come last, if the API documents one. `ids_param`: does the list have the parameter `ids`?
    `after`: what must have been read in the same sync; when one of these fails, this entity is not tried. `refers_to`:
    other entities that its records name; they are read before it, but their failure does not stop it.
    `group`: the part of Dagster's graph it belongs to.
    `lists`: for an entity that consists of several lists, a spec for each, with its own scope and cursors, and a
    partition of the table that has the list's name; `key` then includes the column that tells them apart.
    `version`: raise it when a column is added, so that a full sync writes older rows again. All start at 2: rows of
    version 1 have rounded timestamps.
    """

    name: str
    area: str
    title: str
    columns: tuple[Column, ...]
    list_path: str = ""
    scope: str = ""
    feed_path: str | None = None
    list_params: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    ids_param: bool = True
    sort: str | None = None
    deletion_sign: DeletionSign = DeletionSign.ABSENT
    after: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    totals: tuple[str, ...] = ()
    description: str = ""
    group: Group = Group.REFERENCE
    key: tuple[str, ...] = (KEY,)
    lists: tuple["EntitySpec", ...] = ()
    version: int = 2

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"entity {self.name}: column named twice: {', '.join(twice)}")
        taken = sorted(RESERVED.intersection(names))
        if taken:
            raise ValueError(
                f"entity {self.name}: {', '.join(taken)} belongs to the pipeline; give the column another name"
            )
        if KEY not in names or not set(self.key) <= set(names):
            raise ValueError(f"entity {self.name}: no key column {', '.join({KEY, *self.key} - set(names))}")
        if bool(self.lists) == bool(self.list_path and self.scope):
            raise ValueError(f"entity {self.name}: needs a list and its scope, or several lists that have them")
        unknown = sorted({*(rule.column for rule in self.rules), *self.totals} - set(names))
        if unknown:
            raise ValueError(f"entity {self.name}: a rule or total names an unknown column: {', '.join(unknown)}")
        if self.deletion_sign is DeletionSign.INACTIVE and (self.feed_path is None or "active" not in names):
            raise ValueError(f"entity {self.name}: deletions by active flag need a feed and a column `active`")

    @property
    def table(self) -> str:
        """The table's name."""
        return f"st_{self.name}"

    @property
    def is_read_from_list(self) -> bool:
        """Does a full sync read the list?

        Where there is no feed, and where a feed shows as inactive what only a complete list tells from deleted: these
        lists are small, and cannot be asked by ids.
        """
        return self.feed_path is None or (not self.ids_param and self.deletion_sign is DeletionSign.ABSENT)

    @property
    def read_as(self) -> tuple["EntitySpec", ...]:
        """What is read one by one: the entity itself, or its lists."""
        return self.lists or (self,)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes an app needs to read all of it."""
        return tuple(dict.fromkeys(one.scope for one in self.read_as))

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Every entity that is read before it."""
        return (*self.after, *self.refers_to)

    @property
    def comments(self) -> dict[str, str]:
        """SQL's comment on each column of the table; under the empty name the one on the table."""
        added = {column.name: column.comment for column in (CREDENTIAL, *BOOKKEEPING)}
        return {"": self.description, **added, **{column.name: column.comment for column in self.columns}}

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def has(self, name: str) -> bool:
        """Is there a column of that name?"""
        return any(column.name == name for column in self.columns)


def key_column() -> Column:
    """`id`, the key within a tenant."""
    return Column("id", Kind.INTEGER, name=KEY)


def key_rules() -> tuple[Rule, ...]:
    """The rules every entity has: a record without a usable id cannot be stored."""
    return (Rule("id is missing or not positive", KEY, Severity.REJECT, not_null=True, minimum=1),)


def snake_case(source: str) -> str:
    """`customer.id` and `customerId` both become `customer_id`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", source.replace(".", "_")).lower()
