"""Drift: keys, nulls and enum values in records that differ from ServiceTitan's documents.

Here: counting it in a chunk. Not here: rejecting a record, storing the counts.
"""

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import repeat
from operator import is_
from typing import Any

import msgspec

from st_pipeline.entities.spec import Column, EntitySpec
from st_pipeline.plain_text import plain
from st_pipeline.protocol import Columns, Drift, DriftKind
from st_pipeline.validation.decode import NO_RECORD, column_tree

# Unknown keys are searched for in the first record of a chunk and every fiftieth after it: reading all of an invoice
# takes 37 µs, as long as validating it. Nulls and values are counted in every record: 0.4 µs.
SAMPLED = 50
MAX_TEXT = 100
# An enum that has become free text would fill the table, so values above this number are counted together.
MAX_VALUES = 20


def drift_of(spec: EntitySpec, columns: Columns, records: Sequence[bytes]) -> Counter[Drift]:
    """Each difference from the documents and how many rows have it; unknown keys only in the sampled rows."""
    found: Counter[Drift] = Counter()
    for record in records[::SAMPLED]:
        with suppress(*NO_RECORD):  # the parts without a column were skipped when the record was decoded
            found.update(_unknown_keys(column_tree(spec), msgspec.json.decode(record)))
    for column in _never_null(spec):
        nulls = sum(map(is_, columns[column.name], repeat(None)))
        if nulls:
            found[Drift(DriftKind.NULL, column.source)] = nulls
    for column in _enums(spec):
        found.update(_unknown_values(column, columns[column.name]))
    return found


@functools.cache
def _never_null(spec: EntitySpec) -> tuple[Column, ...]:
    return tuple(column for column in spec.columns if column.never_null)


@functools.cache
def _enums(spec: EntitySpec) -> tuple[Column, ...]:
    return tuple(column for column in spec.columns if column.known_values)


def _unknown_keys(tree: Mapping[str, Any], record: Mapping[str, Any], above: str = "") -> Iterator[Drift]:
    """Keys without a column. The contents of a jsonb column are stored whole, and not searched."""
    for key, value in record.items():
        node = tree.get(key)
        if node is None:
            yield Drift(DriftKind.UNKNOWN_KEY, plain(f"{above}{key}")[:MAX_TEXT])
        elif isinstance(node, dict) and isinstance(value, dict):
            yield from _unknown_keys(node, value, f"{above}{key}.")


def _unknown_values(column: Column, values: Sequence[Any]) -> Counter[Drift]:
    unknown = Counter(values)
    for value in (None, *column.known_values):
        del unknown[value]
    found: Counter[Drift] = Counter()
    for value, times in unknown.most_common(MAX_VALUES):
        found[Drift(DriftKind.UNKNOWN_VALUE, column.source, plain(value)[:MAX_TEXT])] += times
    others = unknown.total() - found.total()
    if others:
        found[Drift(DriftKind.UNKNOWN_VALUE, column.source)] = others
    return found
