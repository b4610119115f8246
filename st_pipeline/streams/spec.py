"""What a stream is: the form that each stream fills in.

Here: StreamSpec. Not here: any one stream; when it is built (sync/), what makes a key wait (postgres/).
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from sqlalchemy import Connection

from st_pipeline.entities.spec import CREDENTIAL, AddedColumn, Column, Rule
from st_pipeline.protocol import Source

SOFTWARE = "ServiceTitan"
# Columns that every stream's table has besides its own; the first two begin its key.
ADDED = (
    AddedColumn("tenant", "text", "the company's Intacct id: companies.intacct_id"),
    AddedColumn(
        "software", "text", f"the software that the record comes from: {SOFTWARE}, or that of an uploaded file"
    ),
    AddedColumn("trade", "text", "the company's trade: companies.trade"),
    AddedColumn("hub_plus_import_id", "text", "the sync that last wrote it: servicetitan_sync_logs.sync_id, as text"),
    AddedColumn("version", "integer", "1, and one more each time the record changed"),
    CREDENTIAL._replace(comment=f"{CREDENTIAL.comment}; null where a file brought the record"),
    AddedColumn("spec_version", "integer", "version of the mapping that built the record"),
    AddedColumn("updated_at", "timestamp with time zone", "when the record last changed"),
)
# A rule's maximum that moves with the calendar: the last day of next year.
NEXT_YEAR = date.max
EARLIEST = date(1990, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class StreamSpec:
    """A stream: one record for each row of its `anchor` entity, in the form downstream reads.

    `key`: the column that tells records apart within a company. `map_records`: keys to records, as tuples in the order
    of `columns`; a key whose row is gone gives none. `data_type`: the word that syncs it together with its sources.
    `version`: raise it when the mapping changes, so that the next full sync builds older records again.
    """

    name: str
    title: str
    description: str
    data_type: str
    anchor: str
    key: str
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...]
    sources: tuple[Source, ...]
    map_records: Callable[[Connection, int, Sequence[int]], list[tuple[Any, ...]]]
    version: int = 1

    @property
    def table(self) -> str:
        """The table's name."""
        return self.name

    @property
    def after(self) -> tuple[str, ...]:
        """The entities it is built from."""
        return tuple(source.entity for source in self.sources)

    @property
    def comments(self) -> dict[str, str]:
        """SQL's comment on each column of the table; under the empty name the one on the table."""
        made = {column.name: f"{column.comment}; from {column.source}" for column in self.columns}
        return {"": self.description, **{column.name: column.comment for column in ADDED}, **made}

    @property
    def anchor_table(self) -> str:
        """The table with a row for each record."""
        return f"st_{self.anchor}"


@functools.cache
def in_year(spec: StreamSpec, year: int) -> StreamSpec:
    """The stream as it is checked in a year: "next year" is a date."""
    end = date(year + 1, 12, 31)
    rules = tuple(replace(rule, maximum=end) if rule.maximum == NEXT_YEAR else rule for rule in spec.rules)
    return replace(spec, rules=rules)
