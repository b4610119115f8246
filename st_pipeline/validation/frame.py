"""Typed rows to an Arrow table.

Here: columns, and the values that a column cannot hold. Not here: decoding (decode.py), rules (schema.py).
"""

from collections.abc import Callable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from st_pipeline.entities.spec import EntitySpec, Kind
from st_pipeline.validation.decode import column_values
from st_pipeline.validation.schema import ARROW_TYPES, arrow_schema


def build_table(spec: EntitySpec, rows: Sequence[Any]) -> tuple[pa.Table, dict[int, list[str]]]:
    """Rows to a table in the entity's schema, and reasons by row index for rows with a value no column can hold.

    Such a value stands as null in the table; the row must be rejected. Examples: an id beyond int64, a total of NaN.
    """
    reasons: dict[int, list[str]] = {}
    arrays = []
    values = column_values(spec, rows)
    for column in spec.columns:
        convert = CONVERT.get(column.kind)
        taken = values[column.name]
        try:
            converted = taken if convert is None else [None if value is None else convert(value) for value in taken]
            arrays.append(pa.array(converted, type=ARROW_TYPES[column.kind]))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
            arrays.append(_one_by_one(column.name, column.kind, taken, reasons))
    return pa.Table.from_arrays(arrays, schema=arrow_schema(spec)), reasons


def decimal_text(value: Decimal) -> str:
    """The number's own digits. Raises ValueError for NaN, infinity and what Postgres's numeric cannot hold."""
    if not value.is_finite() or abs(value.adjusted()) > MAX_NUMERIC_DIGITS:
        raise ValueError("no finite number")
    return str(value)


def day(value: datetime) -> date:
    """The calendar day. ServiceTitan: such days are sent as midnight `Z` and must not be shifted to a local zone."""
    return value.date()


# Postgres: up to 131,072 digits before the decimal point and 16,383 behind it.
MAX_NUMERIC_DIGITS = 16_000
CONVERT: dict[Kind, Callable[[Any], Any]] = {Kind.DECIMAL: decimal_text, Kind.DAY: day}


def _one_by_one(name: str, kind: Kind, values: list[Any], reasons: dict[int, list[str]]) -> pa.Array:
    convert = CONVERT.get(kind, lambda value: value)
    good: list[Any] = []
    for index, value in enumerate(values):
        try:
            converted = None if value is None else convert(value)
            pa.scalar(converted, type=ARROW_TYPES[kind])
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
            reasons.setdefault(index, []).append(f"{name} does not fit its column ({kind.value})")
            converted = None
        good.append(converted)
    return pa.array(good, type=ARROW_TYPES[kind])
