"""What an entity is: the form that every block of data in this folder fills in.

Here: EntitySpec, Column, Rule and their self-checks. Not here: any one entity; nothing that reads, checks or writes.
The typed decoder, the pandera schema, the table, the COPY columns, Dagster's column schema and the docs are all made
from an EntitySpec, so a column is written once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Protocol

KEY = "st_id"
MODIFIED = "modified_on"
# What the pipeline adds to every table, after the entity's own columns.
BOOKKEEPING = ("full_data", "record_hash", "spec_version", "local_synced_at", "deleted_at")
# `credential_id` leads the key, so one company's rows can never stand for another's.
RESERVED = frozenset({"credential_id", *BOOKKEEPING})


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


class Presence(Enum):
    """How a full pass learns that a record is gone."""

    LIST = "absent from a complete walk of the list"
    ACTIVE_FLAG = "the same, or inactive in the feed: whether the list hides inactive records is not documented"


class Group(StrEnum):
    """Which part of the graph an entity stands in; none depends on a later one."""

    REFERENCE = "reference"
    CUSTOMERS = "customers"
    JOBS = "jobs"
    WORK = "work"  # what comes of jobs: appointments, estimates, invoices, payments, equipment


class Severity(StrEnum):
    """What a broken rule does to a record."""

    REJECT = "reject"  # kept aside with the reason
    WARN = "warn"  # written, counted


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `source` is the path in the record (`customer.id`), `name` defaults to its snake_case form.

    `known_values`: usual values of an open enum. `never_null`: what ServiceTitan documents, and no record was seen to
    break. Other values and nulls are stored all the same, and counted as drift. `feed_only`: lists do not show it, so a
    record that was read from a list would lose it.
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


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule about one column. A value breaks it when it is null and `not_null`, or out of `minimum`…`maximum`.

    A null breaks no bound: everything but the id may be null in a ServiceTitan record. Bounds: integers and days.
    """

    name: str
    column: str
    severity: Severity
    not_null: bool = False
    minimum: int | date | None = None
    maximum: int | date | None = None


class Checked(Protocol):
    """What a table is checked by: its columns and its rules."""

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
    order in which new records come last, where the API documents one. `ids_param`: can the list be asked by `ids`?
    `after`: what must have been read in the same sync; when one of these fails, this entity is not tried. `refers_to`:
    what its records name as well; read before it, but its failure stops nothing here.
    `group`: the part of the graph it stands in.
    `lists`: where one entity is several lists, each with a spec, a scope and positions of its own, and a partition of
    the table that is named like the list; `key` then has the column that tells them apart.
    `version`: raise it when a column is added, so that rows written before are written again by a full pass. All begin
    with 2: rows of version 1 have moments that were rounded.
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
    presence: Presence = Presence.LIST
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
                f"entity {self.name}: {', '.join(taken)} belongs to the pipeline, name the column otherwise"
            )
        if KEY not in names or not set(self.key) <= set(names):
            raise ValueError(f"entity {self.name}: no key column {', '.join({KEY, *self.key} - set(names))}")
        if bool(self.lists) == bool(self.list_path and self.scope):
            raise ValueError(f"entity {self.name}: needs a list and its scope, or several lists that have them")
        unknown = sorted({*(rule.column for rule in self.rules), *self.totals} - set(names))
        if unknown:
            raise ValueError(f"entity {self.name}: a rule or total names no column: {', '.join(unknown)}")
        if self.presence is Presence.ACTIVE_FLAG and (self.feed_path is None or "active" not in names):
            raise ValueError(f"entity {self.name}: goes by its active flag but has no feed or no such column")

    @property
    def table(self) -> str:
        """The table's name."""
        return f"st_{self.name}"

    @property
    def read_as(self) -> tuple["EntitySpec", ...]:
        """What is read one by one: the entity itself, or its several lists."""
        return self.lists or (self,)

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes an app needs to read all of it."""
        return tuple(dict.fromkeys(one.scope for one in self.read_as))

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Every entity that is read before it."""
        return (*self.after, *self.refers_to)

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
    return Column("id", Kind.INTEGER, name=KEY, description="ServiceTitan's id")


def key_rules() -> tuple[Rule, ...]:
    """The rules every entity has: without a usable key a record cannot be told from another."""
    return (Rule("id is missing or not positive", KEY, Severity.REJECT, not_null=True, minimum=1),)


def snake_case(source: str) -> str:
    """`customer.id` and `customerId` both become `customer_id`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", source.replace(".", "_")).lower()
