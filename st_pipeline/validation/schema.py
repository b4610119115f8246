"""A spec's columns and rules to a pandera schema, and a chunk checked by it.

Here: dtypes, the rules that reject, the rules that warn. Not here: decoding, and what happens to a rejected row.
"""

import functools
from collections import Counter, defaultdict

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from st_pipeline.entities.spec import Checked, Kind, Rule, Severity
from st_pipeline.errors import ConfigurationError

ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.INTEGER: pa.int64(),
    Kind.TEXT: pa.string(),
    Kind.BOOLEAN: pa.bool_(),
    # The number's own digits: no decimal128 holds 20 digits before the point and the 28 behind it that .NET prints.
    Kind.DECIMAL: pa.string(),
    Kind.FLOAT: pa.float64(),
    Kind.TIMESTAMP: pa.timestamp("us", "UTC"),
    Kind.DAY: pa.date32(),
    Kind.JSON: pa.string(),
}


@functools.cache
def arrow_schema(spec: Checked) -> pa.Schema:
    """The Arrow schema of a chunk: the columns in order."""
    return pa.schema([(column.name, ARROW_TYPES[column.kind]) for column in spec.columns])


@functools.cache
def pandera_schema(spec: Checked) -> pandera.DataFrameSchema:
    """The schema of a chunk: every column's dtype, and the rules that reject. Built once; nothing is coerced."""
    rejecting: dict[str, list[Rule]] = defaultdict(list)
    for rule in spec.rules:
        if rule.severity is Severity.REJECT:
            rejecting[rule.column].append(rule)
    return pandera.DataFrameSchema(
        {
            column.name: pandera.Column(
                pd.ArrowDtype(ARROW_TYPES[column.kind]),
                checks=[check for rule in rejecting[column.name] for check in _checks(rule)],
                nullable=not any(rule.not_null for rule in rejecting[column.name]),
            )
            for column in spec.columns
        },
        name=spec.table,
        strict=True,
        ordered=True,
    )


def _checks(rule: Rule) -> list[pandera.Check]:
    checks = []
    if rule.minimum is not None:
        checks.append(pandera.Check.ge(rule.minimum, name=rule.name, error=rule.name))
    if rule.maximum is not None:
        checks.append(pandera.Check.le(rule.maximum, name=rule.name, error=rule.name))
    return checks


def failing_rows(spec: Checked, table: pa.Table) -> dict[int, list[str]]:
    """Validate a chunk. Returns the reasons by row index; empty when all is well.

    Raises ConfigurationError when the chunk does not have the schema's columns and dtypes: that is our mistake, not
    the record's.
    """
    frame = table.to_pandas(types_mapper=pd.ArrowDtype, use_threads=False)
    try:
        pandera_schema(spec).validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        reasons: dict[int, list[str]] = defaultdict(list)
        missing = {rule.column: rule.name for rule in spec.rules if rule.not_null and rule.severity is Severity.REJECT}
        for index, column, check in zip(cases["index"], cases["column"], cases["check"], strict=True):
            if pd.isna(index):
                raise ConfigurationError(f"{spec.name}: column {column} fails {check}: spec and chunk differ") from None
            text = missing.get(column, f"{column} is missing") if check == "not_nullable" else str(check)
            if text not in reasons[int(index)]:
                reasons[int(index)].append(text)
        return dict(reasons)
    return {}


def warnings(spec: Checked, table: pa.Table) -> Counter[str]:
    """How many rows break each rule that warns, and how many show an enum value never heard of."""
    found: Counter[str] = Counter()
    for rule in spec.rules:
        if rule.severity is Severity.WARN:
            found[f"{rule.name} ({rule.column})"] = _broken(rule, table[rule.column])
    for column in spec.columns:
        if column.known_values:
            values = table[column.name]
            known = pc.is_in(values, value_set=pa.array(column.known_values))
            found[f"unknown value ({column.name})"] = len(values) - values.null_count - (pc.sum(known).as_py() or 0)
    return +found


def _broken(rule: Rule, values: pa.ChunkedArray) -> int:
    count = values.null_count if rule.not_null else 0
    if rule.minimum is not None:
        count += pc.sum(pc.less(values, rule.minimum)).as_py() or 0
    if rule.maximum is not None:
        count += pc.sum(pc.greater(values, rule.maximum)).as_py() or 0
    return int(count)
