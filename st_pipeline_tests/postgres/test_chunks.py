"""A chunk into its table: what was sent stands there, and a value that Postgres refuses takes no other row with it."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import chunks
from st_pipeline.protocol import Columns
from st_pipeline.validation.chunk import validate_chunk

INVOICES = ENTITIES["invoices"]
Write = Callable[[Connection, Columns], Any]
EDGES: dict[str, Any] = {
    "id": 2**63 - 1,
    "summary": 'a "quoted", \\ and\ttab,\nline \u2028 ✓ 🛠, \\N',
    "termName": "",
    "createdBy": None,
    "total": "0." + "3" * 28,
    "balance": "-0.00",
    "subTotal": "1e3",
    "createdOn": "0001-01-01T00:00:00Z",
    "modifiedOn": "2026-01-02T16:28:55.8446003Z",
    "paidOn": "2026-01-02T00:00:00",
    "invoiceDate": "2026-03-01T00:00:00Z",
    "customer": {"id": 7, "name": None},
    "items": [{"text": '\\"✓'}, None, 1.10],
    "customFields": None,
    "active": False,
}


def write_first(connection: Connection, rows: Columns) -> Any:
    return chunks.copy_first_rows(connection, INVOICES, 1, rows)


def write_again(connection: Connection, rows: Columns) -> Any:
    return chunks.upsert(connection, INVOICES, 1, rows)


def rows_of(*records: bytes) -> Columns:
    valid = validate_chunk(INVOICES, records)
    assert not valid.rejects
    return chunks.with_bookkeeping(valid.columns, valid.hashes, valid.records)


@pytest.mark.parametrize("write", [write_first, write_again])
def test_what_was_sent_is_what_stands_in_the_table(engine: Engine, write: Write):
    """Empty text is no null, a null list is null, a time without a zone is UTC, and no digit is lost."""
    record = json.dumps(EDGES, ensure_ascii=False).encode()
    with engine.begin() as connection:
        write(connection, rows_of(record))
        row = connection.execute(text("SELECT *, full_data::text AS received FROM st_invoices")).mappings().one()
        year_one = connection.execute(text("SELECT created_on::text FROM st_invoices")).scalar()
    assert row["received"].encode() == record
    assert (row["st_id"], row["summary"], row["term_name"]) == (2**63 - 1, EDGES["summary"], "")
    assert row["created_by"] is row["custom_fields"] is row["customer_name"] is None
    assert [str(row[name]) for name in ("total", "balance", "subtotal")] == ["0." + "3" * 28, "0.00", "1000"]
    assert year_one == "0001-01-01 00:00:00+00"
    assert row["modified_on"].isoformat() == "2026-01-02T16:28:55.844600+00:00"
    assert row["paid_on"].isoformat() == "2026-01-02T00:00:00+00:00"
    assert row["invoice_date"].isoformat() == "2026-03-01"
    assert row["customer_id"] == 7
    assert row["items"] == [{"text": '\\"✓'}, None, 1.1]
    assert row["active"] is False


def test_nothing_is_kept_of_a_record_when_none_is_given(engine: Engine):
    valid = validate_chunk(INVOICES, [b'{"id":1}'])
    with engine.begin() as connection:
        write_first(connection, chunks.with_bookkeeping(valid.columns, valid.hashes, None))
        assert connection.execute(text("SELECT full_data FROM st_invoices")).scalars().all() == [None]


@pytest.mark.parametrize(
    "value",
    [b'"total":"0.' + b"3" * 20_000 + b'"', b'"items":[1e999999]'],
    ids=["more digits than numeric holds", "a number in JSON that jsonb does not hold"],
)
def test_a_value_that_postgres_refuses_is_named_and_the_others_are_written(engine: Engine, value: bytes):
    """One is refused before it is sent, by the driver, the other by the server; neither may end the sync."""
    records = [b'{"id":%d}' % number for number in range(1, 6)]
    records[2] = b'{"id":3,%s}' % value
    with engine.begin() as connection:
        assert write_first(connection, rows_of(*records)) is None
        counts, refused = chunks.upsert_or_name_the_refused(connection, INVOICES, 1, rows_of(*records))
        written = connection.execute(text("SELECT st_id FROM st_invoices ORDER BY 1")).scalars().all()
    assert (counts.created, list(refused), written) == (4, [2], [1, 2, 4, 5])


def test_compression_is_asked_for_only_where_the_server_has_it(engine: Engine):
    """The embedded server has no lz4: asking for it would be an error, and the chunk with it."""
    with engine.begin() as connection:
        offered = connection.execute(
            text("SELECT enumvals FROM pg_settings WHERE name = 'default_toast_compression'")
        ).scalar_one()
        chunks.compress_quickly(connection)
        chosen = connection.execute(text("SHOW default_toast_compression")).scalar()
    assert chosen == ("lz4" if "lz4" in offered else "pglz")


def test_a_stream_s_table_may_be_copied_with_decimals_as_text(engine: Engine):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TEMP TABLE sums (name text, total numeric)")
        chunks.copy_rows(connection, "sums (name, total)", {"name": ["a", None], "total": ["12.50", Decimal("-0.1")]})
        rows = connection.execute(text("SELECT name, total::text FROM sums")).all()
    assert rows == [("a", "12.50"), (None, "-0.1")]
