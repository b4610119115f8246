"""Records to rows and rejects: every record ends in one of the two, and none stops the others."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec, Kind
from st_pipeline.protocol import Known, record_hash
from st_pipeline.validation.chunk import Heads, changed_records, read_heads, validate_chunk
from st_pipeline.validation.decode import MAX_NESTING, read_head, read_id
from st_pipeline.validation.timestamps import epoch_microseconds

INVOICES = ENTITIES["invoices"]
GOOD = b'{"id":1,"total":"10.50","customer":{"id":7,"name":"A"},"modifiedOn":"2026-01-02T16:28:55.8446003Z"}'


class OnlyId(msgspec.Struct):
    """A record of which nothing else is read."""

    id: int


def invoice(**fields: Any) -> bytes:
    return json.dumps({"id": 2, "modifiedOn": "2026-01-02T00:00:00Z", **fields}).encode()


KEPT = {
    "all nulls": b'{"id":2,"total":null,"customer":null,"items":null,"modifiedOn":null,"active":null}',
    "nothing but an id": b'{"id":2}',
    "the largest int64": b'{"id":9223372036854775807}',
    "an unknown key and an unknown enum": invoice(brandNew=1, syncStatus="Brandnew"),
    "28 digits behind the point": invoice(total="0." + "3" * 28),
    "40 digits": invoice(total="9" * 40),
    "a JSON number where accounting sends text": invoice(total=12.5),
    "1 MB of text": invoice(summary="x" * 1_000_000),
    "a line separator": invoice(summary="a\u2028b"),
    "the year 1": invoice(createdOn="0001-01-01T00:00:00Z"),
    "a time without a zone": invoice(createdOn="2026-01-02T00:00:00"),
}
REJECTED = {
    "no id": (b'{"total":"1"}', "missing required field `id`"),
    "a null id": (b'{"id":null}', "Expected `int`, got `null`"),
    "a text id": (b'{"id":"7"}', "Expected `int`, got `str`"),
    "id 0": (b'{"id":0}', "not positive"),
    "a negative id": (b'{"id":-3}', "not positive"),
    "an id beyond int64": (b'{"id":99999999999999999999}', "Expected `int` <= 9223372036854775807"),
    "a number where text belongs": (invoice(summary=5), "Expected `str | null`, got `int`"),
    "a total that is not a number": (invoice(total="abc"), "Invalid decimal string"),
    "a total of NaN": (invoice(total="NaN"), "does not fit its column"),
    "a total beyond all numbers": (invoice(total="1e999999"), "does not fit its column"),
    "text that is not UTF-8": (b'{"id":2,"summary":"\xff\xfe"}', "UTF-8"),
    "text that is not UTF-8 in a part that is kept as it is": (b'{"id":2,"items":"\xff"}', "UTF-8"),
    "null": (b"null", "Expected `object`"),
    "a list": (b"[1]", "Expected `object`"),
    "a number": (b"5", "Expected `object`"),
}


@pytest.mark.parametrize("case", KEPT)
def test_a_record_is_kept_with(case: str):
    chunk = validate_chunk(INVOICES, [GOOD, KEPT[case]])
    assert (len(chunk.ids), chunk.rejects) == (2, [])


@pytest.mark.parametrize("case", REJECTED)
def test_a_record_is_rejected_and_the_others_pass_with(case: str):
    record, reason = REJECTED[case]
    chunk = validate_chunk(INVOICES, [GOOD, record])
    assert chunk.ids == [1]
    (reject,) = chunk.rejects
    assert reject.record == record
    assert reason in reject.reasons[0]
    assert len(reject.reasons) == 1


def test_a_nul_is_replaced_and_an_escaped_backslash_before_it_is_not():
    chunk = validate_chunk(INVOICES, [rb'{"id":1,"summary":"a\u0000b"}', rb'{"id":2,"summary":"a\\u0000b"}'])
    assert list(chunk.columns["summary"]) == ["a\ufffdb", "a\\u0000b"]
    assert chunk.nul_records == 1


def test_of_a_repeated_key_the_newest_is_kept_and_of_equals_the_last():
    old, new = invoice(total="1"), invoice(total="2", modifiedOn="2026-01-03T00:00:00Z")
    assert validate_chunk(INVOICES, [new, old]).columns["total"][0] == 2
    assert validate_chunk(INVOICES, [invoice(total="3"), invoice(total="4")]).columns["total"][0] == 4


def test_the_newest_time_keeps_the_digits_that_the_source_wrote():
    assert validate_chunk(INVOICES, [GOOD]).newest_modified_on == "2026-01-02T16:28:55.8446003Z"


def test_money_and_days_keep_what_the_source_meant():
    columns = validate_chunk(INVOICES, [invoice(total="10.50", invoiceDate="2026-03-01T00:00:00Z")]).columns
    assert str(columns["total"][0]) == "10.50"
    assert columns["invoice_date"][0].isoformat() == "2026-03-01"


def test_only_a_record_that_is_held_in_every_respect_is_left_out():
    head = read_head(GOOD)
    assert head is not None
    held = Known(epoch_microseconds(head.modified_on), record_hash(GOOD), INVOICES.version)

    def left(known: Known) -> int:
        changed, unchanged = changed_records(INVOICES, Heads([GOOD], [head]), {1: known})
        assert len(changed) + len(unchanged) == 1
        return len(changed)

    assert left(held) == 0
    assert left(Known(held.modified_on_us, held.record_hash + 1, held.spec_version)) == 1
    assert left(Known(0, held.record_hash, held.spec_version)) == 1
    assert left(Known(held.modified_on_us, held.record_hash, held.spec_version - 1)) == 1


def test_rules_that_warn_count_and_keep_the_row():
    chunk = validate_chunk(INVOICES, [invoice(syncStatus="Odd")])
    assert len(chunk.ids) == 1
    assert chunk.warnings == {
        "total is missing (total)": 1,
        "customer is missing (customer_id)": 1,
    }


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2)
)
SHAPED = {
    Kind.INTEGER: st.integers(-(2**65), 2**65),
    Kind.TEXT: st.text(),
    Kind.BOOLEAN: st.booleans(),
    Kind.DECIMAL: st.one_of(st.decimals().map(str), st.integers(), st.floats()),
    Kind.FLOAT: st.floats(),
    Kind.TIMESTAMP: st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    Kind.DAY: st.dates().map(lambda day: f"{day.isoformat()}T00:00:00Z"),
    Kind.JSON: st.lists(st.dictionaries(st.text(max_size=3), st.integers(), max_size=2), max_size=2),
}


def records(spec: EntitySpec) -> st.SearchStrategy[bytes]:
    """Records of an entity: each field as documented, null, missing, or anything at all."""

    def encoded(fields: dict[str, Any]) -> bytes:
        record: dict[str, Any] = {}
        for source, value in fields.items():
            *above, last = source.split(".")
            node = record
            for key in above:
                node = node.setdefault(key, {})
            node[last] = value
        return json.dumps(record).encode()

    some = {c.source: st.one_of(SHAPED[c.kind], SHAPED[c.kind], st.none(), ANYTHING) for c in spec.columns}
    identified = st.fixed_dictionaries(
        {"id": st.integers(1, 50)}, optional={k: v for k, v in some.items() if k != "id"}
    )
    return st.one_of(identified, identified, st.fixed_dictionaries({}, optional=some)).map(encoded)


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_record_ends_in_the_table_or_is_rejected(entity: str):
    spec = ENTITIES[entity]

    @settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(records(spec), max_size=8))
    def check(chunk_of_records: list[bytes]) -> None:
        chunk = validate_chunk(spec, chunk_of_records)
        kept = set(chunk.ids)
        aside, rejected = ({getattr(one, name) for one in chunk.rejects} for name in ("record", "st_id"))
        for record in chunk_of_records:
            # The rest is an older copy of one of these. Its date may be unreadable, so its head may be, too.
            assert record in aside or msgspec.json.decode(record, type=OnlyId).id in kept | rejected
        assert len(chunk.records) == len(chunk.hashes) == len(chunk.ids) == len(kept)

    check()


def test_the_last_moment_of_dotnet_means_never_and_the_same_text_elsewhere_stays_as_it_was():
    """Rounded, it lies in the year 10000, which no column and no datetime holds."""
    never = "9999-12-31T23:59:59.9999999Z"
    record = invoice(paidOn=never, modifiedOn=never, summary=f"until {never}", customFields=[{"value": never}])
    valid = validate_chunk(INVOICES, [record])
    assert valid.rejects == []
    assert str(valid.columns["paid_on"][0]) == "9999-12-31 23:59:59.999999+00:00"
    assert valid.columns["summary"][0] == f"until {never}"
    assert bytes(valid.columns["custom_fields"][0]) == f'[{{"value": "{never}"}}]'.encode()
    assert valid.records == [record]
    assert valid.newest_modified_on == never


def test_the_last_moment_of_a_day_stays_in_that_day():
    valid = validate_chunk(ENTITIES["memberships"], [b'{"id":1,"to":"2026-06-30T23:59:59.9999999Z"}'])
    assert str(valid.columns["ends_on"][0]) == "2026-06-30 23:59:59.999999+00:00"


def test_of_a_repeated_key_the_one_whose_time_can_be_read_is_kept():
    good, odd = invoice(total="1"), invoice(total="2", modifiedOn="yesterday")
    chunk = validate_chunk(INVOICES, [good, odd])
    assert (list(chunk.columns["total"]), chunk.rejects) == ([1], [])
    (reject,) = validate_chunk(INVOICES, [odd]).rejects
    assert reject.reasons == ("modified_on does not fit its column (timestamp with time zone)",)


def nested(levels: int, inner: bytes = b"") -> bytes:
    """A record of that many levels, with an id, lists and objects by turns."""
    pairs, odd = divmod(levels - 1, 2)
    value = b'[{"a":' * pairs + (b"[" + inner + b"]" if odd else inner or b"0") + b"}]" * pairs
    return b'{"id":1,"customFields":' + value + b"}"


@pytest.mark.parametrize("levels", [MAX_NESTING + 1, MAX_NESTING + 2, 2000, 50_000])
def test_a_record_nested_too_deep_is_rejected_by_every_python_and_takes_no_other_with_it(levels: int):
    """The decoder's own limit is about 900 levels on Python 3.11, and many thousand on 3.13."""
    valid = validate_chunk(ENTITIES["customers"], [nested(levels), b'{"id": 2}'])
    assert [reject.reasons for reject in valid.rejects] == [(f"nested more than {MAX_NESTING} levels deep",)]
    assert valid.ids == [2]


@pytest.mark.parametrize(
    "inner", [b"", b'"' + b"[{" * MAX_NESTING + b'"', b'"' + rb"\"[" * MAX_NESTING + b'"', b"{},[]," * 300 + b"{}"]
)
def test_a_record_at_the_limit_passes_and_brackets_in_text_or_side_by_side_are_no_depth(inner: bytes):
    levels = MAX_NESTING - 2 if inner.startswith(b"{") else MAX_NESTING
    valid = validate_chunk(ENTITIES["customers"], [nested(levels, inner)])
    assert (valid.rejects, valid.ids) == ([], [1])


@pytest.mark.parametrize(
    ("st_id", "fits"), [(-(2**63), True), (2**63 - 1, True), (-(2**63) - 1, False), (2**63, False)]
)
def test_the_smallest_and_the_largest_id_are_read_as_postgres_stores_them(st_id: int, fits: bool):
    record = b'{"id":%d}' % st_id
    assert (read_id(record) == st_id, read_heads([record]).ids == [st_id]) == (fits, fits)
