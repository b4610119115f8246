"""What columns are said to mean: something, in a phrase, that is true of the tables it names."""

import re
from collections import Counter

import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.meanings import MEANINGS, SHARED
from st_pipeline.entities.meanings_of_work import MEANINGS_OF_WORK
from st_pipeline.entities.spec import BOOKKEEPING, CREDENTIAL, Column, EntitySpec, Kind
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import ADDED, StreamSpec

SPECS: dict[str, EntitySpec | StreamSpec] = {**ENTITIES, **STREAMS}
LONGEST = 200
# With these a name is repeated, not explained.
EMPTY_WORDS = {"the", "a", "an", "of", "its", "is", "servicetitan", "s", "record", "html", "st", "for", "and", "in"}
UNITS = ("currency", "rate", "percent", "not documented")


def words(text: str) -> set[str]:
    """`jobGeneratedLeadSource.jobId` is job, generated, lead, source, id."""
    return set(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).lower()))


def says_nothing(column: Column) -> bool:
    """Does it only repeat the column's name or path?"""
    return words(column.meaning) <= words(f"{column.name} {column.source}") | EMPTY_WORDS


@pytest.mark.parametrize("name", SPECS)
def test_every_column_has_a_meaning_that_is_not_its_name_again(name: str):
    columns = SPECS[name].columns
    assert [column.name for column in columns if says_nothing(column)] == [], (
        "write what it means: in st_pipeline/entities/meanings.py for its path, or as the column's description"
    )
    assert [column.name for column in columns if len(column.meaning) > LONGEST] == []
    assert [column.name for column in columns if not re.match(r"[a-z]|ServiceTitan", column.meaning)] == []
    assert [column.name for column in columns if column.meaning.rstrip("… ").endswith((".", ";", ":", ","))] == []


@pytest.mark.parametrize("name", SPECS)
def test_no_two_columns_of_a_table_mean_the_same(name: str):
    meanings = Counter(column.meaning for column in SPECS[name].columns)
    assert [meaning for meaning, times in meanings.items() if times > 1] == []


@pytest.mark.parametrize("name", SPECS)
def test_numbers_with_fractions_say_their_unit_and_days_that_they_are_days(name: str):
    for column in SPECS[name].columns:
        if column.kind is Kind.DECIMAL:
            assert any(unit in column.comment for unit in UNITS), column.name
        if column.kind is Kind.DAY:
            assert "calendar day" in column.comment, column.name
        if column.kind is Kind.JSON:
            assert column.meaning.startswith("list of"), column.name


@pytest.mark.parametrize("name", SPECS)
def test_every_column_that_a_meaning_names_exists(name: str):
    tables = {spec.table: {column.name for column in spec.columns} for spec in ENTITIES.values()}
    for column in SPECS[name].columns:
        for table, other in re.findall(r"\b(st_\w+)\.(\w+)", column.meaning):
            assert other in tables[table], f"{column.name}: {table}.{other}"


def test_no_meaning_is_left_over_and_none_is_said_twice():
    used = {column.source for spec in ENTITIES.values() for column in spec.columns if not column.description}
    assert (MEANINGS.keys() | MEANINGS_OF_WORK.keys()) - used == set()
    assert MEANINGS.keys() & MEANINGS_OF_WORK.keys() == set()
    assert all(column.comment for column in (CREDENTIAL, *BOOKKEEPING, *ADDED))


def test_a_meaning_that_is_not_shared_is_of_one_area():
    """Else a new entity's `status` or `end` would mean what it means elsewhere, and nobody would have read it."""
    areas: dict[str, set[str]] = {}
    for spec in ENTITIES.values():
        for column in spec.columns:
            if not column.description and column.source not in SHARED:
                areas.setdefault(column.source, set()).add(spec.area)
    assert {source: found for source, found in areas.items() if len(found) > 1} == {}, (
        "write what it means into SHARED if that holds everywhere, else as the description of each column"
    )


def test_a_comment_has_the_meaning_the_usual_values_and_where_it_is_shown():
    found = {name: spec.comments for name, spec in SPECS.items()}
    assert found["invoices"]["sync_status"] == (
        "how far it is on its way into the accounting system; each step moves modified_on; "
        "usually Pending, Posted, Exported"
    )
    assert found["invoices"]["due_date"] == "until when it is to be paid; a calendar day"
    assert found["jobs"]["active"].endswith("; in the feed only")
    assert found["jobs"]["credential_id"] == CREDENTIAL.comment
    assert found["members_stream"]["customer_city"] == "city, as people typed it; from customers.address_city"
    assert found["jobs"][""] == ENTITIES["jobs"].description
