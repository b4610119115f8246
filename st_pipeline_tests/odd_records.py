"""Records as the documents promise them, and as nobody promised: what the fuzz tests feed to the engine.

Here: strategies that make JSON texts. Not here: tests. Every odd text and number holds PRIVATE_TEXT or PRIVATE_NUMBER,
so that a place that quotes a record's data is found by searching for them.
"""

import json
from random import Random
from typing import Any

from hypothesis import strategies as st

from st_pipeline.entities.spec import KEY, Column, EntitySpec, Kind

PRIVATE_TEXT, PRIVATE_NUMBER = "Prv", "8675309"
PRIVATE = (PRIVATE_TEXT, PRIVATE_NUMBER)
GOOD_IDS = range(1000, 1100)  # of well-formed records, each its own; odd ones have others, and repeat them

GOOD: dict[Kind, tuple[bytes, ...]] = {
    Kind.INTEGER: (b"0", b"7", b"-1", b"9223372036854775807", b"-9223372036854775808"),
    Kind.TEXT: (
        *(b'""', b'"Prv"', '"Prv ü 👩\u200d🔧 \u2028"'.encode(), b'"' + b"Prv" * 5000 + b'"'),
        *(rb'"Prv\n\\.\n\\N\t\"\u00fc"', rb'"\\u0000 Prv \\\\"', b'"\x7f,;|\'Prv"'),
    ),
    Kind.BOOLEAN: (b"true", b"false"),
    Kind.DECIMAL: (
        b"0",
        b"25.1700000000",
        b'"-10.50"',
        b"1e3",
        b'"0.' + b"3" * 28 + b'"',
        b'"' + b"9" * 40 + b'"',
        b"-0.0",
    ),
    Kind.FLOAT: (b"0", b"-80.162837", b"1e-7", b"36.223655"),
    Kind.TIMESTAMP: (
        *(b'"0001-01-01T00:00:00Z"', b'"9999-12-31T23:59:59Z"', b'"2026-01-02T16:28:55.8446003Z"'),
        *(b'"2026-01-02T00:00:00"', b'"2026-03-08T02:30:00-05:00"', b'"1969-12-31T23:59:59.9999999Z"'),
    ),
    Kind.DAY: (
        b'"2026-01-02T00:00:00Z"',
        b'"0001-01-01T00:00:00Z"',
        b'"9999-12-31T00:00:00Z"',
        b'"2024-02-29T00:00:00Z"',
    ),
    Kind.JSON: (b"[]", b"{}", b'[{"Prv":["Prv",null,1.50,{}]}]', b'"Prv"', b"8675309", '["ü "]'.encode()),
}
_deep = st.integers(1, 300).map(lambda depth: b'{"Prv":[' * depth + b"8675309" + b"]}" * depth)
ODD = st.one_of(
    st.sampled_from([b"null", b"true", b"8675309", b"-8675309.5", b'"8675309"', b"[]", b"{}", b'""', b"[null,[null]]"]),
    st.sampled_from([b"8675309" + b"0" * 20, b"8675309e99999", b"1e-20000", b"-8675309E+400", b'"8675309e999999"']),
    st.sampled_from([b'"NaN"', b'"Infinity"', b'"-Infinity"', b'"nanPrv"', b'"0x8675309"', b'"8675309,50"', b'" 1 "']),
    st.sampled_from([b'"9999-12-31T23:59:59.9999999Z"', b'"0000-00-00T00:00:00Z"', b'"2026-02-30T00:00:00Z"']),
    st.sampled_from([b'"2026-01-02"', b'"2026-06-30T23:59:60Z"', b'"8675309-01-01T00:00:00Z"', b'"/Date(8675309)/"']),
    st.sampled_from([b'"Prv\\u0000"', b'"Prv\\\\u0000"', b'"Prv\\ud83d"', b'"\\udc00Prv"', b'"Prv\xe2\x80\xa8\x7f"']),
    st.sampled_from([b'"Prv\xff\xfe"', b'"Prv\xed\xa0\x80"', b'"Prv\n\t"', b'"Prv\\.\\nPrv\\tPrv"', b'"\\"Prv\\""']),
    st.sampled_from([b'{"Prv":"Prv","Prv":8675309}', b'{"id":8675309,"name":{"Prv":[]}}', b'[{"id":"Prv"},8675309]']),
    st.sampled_from(
        [b"NaN", b"-Infinity", b"undefined", b"'Prv'", b"08675309", b".5", b'"Prv', b"{Prv:1}", b'"Prv\\q"']
    ),
    _deep,
    st.text(max_size=12).map(lambda text: json.dumps(PRIVATE_TEXT + text).encode()),
)
_ODD_IDS = st.one_of(
    st.integers(1, 6).map(lambda number: str(number).encode()),
    st.sampled_from([b"0", b"-3", b"null", b'"7"', b'"Prv"', b"1.5", b"2e0", b"true", b"[1]", b"1e400"]),
    st.sampled_from([str(2**63 - 1).encode(), str(2**63).encode(), str(-(2**63)).encode(), b"8675309" * 9]),
)
NO_RECORDS = st.sampled_from([b"null", b"8675309", b'"Prv"', b"[]", b"[8675309]", b"{}", b"true", b'{"Prv":{"id":1}}'])


def good_record(spec: EntitySpec, st_id: int) -> st.SearchStrategy[bytes]:
    """A record as documented: every key there, each value of its kind or null. One draw; one a column takes 2 ms."""
    return st.integers(0, 2**32).map(lambda number: _good(spec, st_id, Random(number)))  # noqa: S311 - no secret


def _good(spec: EntitySpec, st_id: int, chance: Random) -> bytes:
    columns = [column for column in spec.columns if column.name != KEY]
    values = [(column.source, chance.choice((*GOOD[column.kind], b"null"))) for column in columns]
    return _written([("id", str(st_id).encode()), *values])


def odd_record(spec: EntitySpec) -> st.SearchStrategy[bytes]:
    """A record that breaks promises: wrong types, keys that are missing, doubled or unknown, broken bytes."""
    fields = st.lists(st.sampled_from(spec.columns).flatmap(_odd_field), max_size=6)
    more = st.lists(st.tuples(st.sampled_from(["Prv", "Prv8675309", "aiSummary", "", "$", "a.b"]), ODD), max_size=2)
    ids = st.lists(_ODD_IDS.map(lambda st_id: ("id", st_id)), min_size=0, max_size=2)
    record = st.tuples(ids, fields, more).map(lambda parts: _written([pair for part in parts for pair in part]))
    cut = st.tuples(record, st.integers(1, 40)).map(lambda made: made[0][: -made[1]] or b"{")
    return st.one_of(record, record, record, record, NO_RECORDS, cut)


def _odd_field(column: Column) -> st.SearchStrategy[tuple[str, bytes]]:
    return st.tuples(st.just(column.source), ODD | st.sampled_from(GOOD[column.kind]))


def _written(fields: list[tuple[str, bytes]]) -> bytes:
    """The JSON text of a record: `customer.id` is nested; a key that is given twice stands there twice."""
    tree: list[tuple[str, Any]] = []
    for source, value in fields:
        *above, last = source.split(".") if source != "a.b" else [source]
        level = tree
        for key in above:
            inner = next((node for name, node in level if name == key and isinstance(node, list)), None)
            if inner is None:
                inner = []
                level.append((key, inner))
            level = inner
        level.append((last, value))
    return _object(tree)


def _object(tree: list[tuple[str, Any]]) -> bytes:
    members = [json.dumps(k).encode() + b":" + (_object(v) if isinstance(v, list) else v) for k, v in tree]
    return b"{" + b",".join(members) + b"}"
