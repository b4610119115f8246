"""What is counted as different from ServiceTitan's documents, and that only counting happens."""

import json
from typing import Any

import pytest

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.protocol import Drift, DriftKind
from st_pipeline.validation.chunk import validate_chunk
from st_pipeline.validation.drift import MAX_VALUES, SAMPLED
from st_pipeline_tests.entities.made_records import empty_record, full_record

JOBS = ENTITIES["jobs"]


def jobs(*changes: dict[str, Any]) -> list[bytes]:
    return [
        json.dumps({**json.loads(full_record(JOBS, 1)), "id": number, **change}).encode()
        for number, change in enumerate(changes, start=1)
    ]


@pytest.mark.parametrize("spec", LISTS.values(), ids=lambda spec: spec.name)
def test_a_record_as_documented_shows_no_drift(spec: EntitySpec):
    assert validate_chunk(spec, [full_record(spec, 1)]).drift == {}


@pytest.mark.parametrize("spec", LISTS.values(), ids=lambda spec: spec.name)
def test_a_null_is_drift_exactly_where_a_value_is_promised(spec: EntitySpec):
    """Of a record that may be null itself nothing is promised."""
    record = empty_record(spec, 1)
    values = json.loads(record)
    kept = {column.source for column in spec.columns if values.get(column.path[0]) is not None}
    promised = {column.source for column in spec.columns if column.never_null} - kept
    chunk = validate_chunk(spec, [record])
    assert chunk.drift == {Drift(DriftKind.NULL, source): 1 for source in promised}
    assert len(chunk.ids) == 1


def test_a_missing_field_counts_as_null():
    record = json.loads(full_record(JOBS, 1))
    del record["jobNumber"]
    assert validate_chunk(JOBS, [json.dumps(record).encode()]).drift == {Drift(DriftKind.NULL, "jobNumber"): 1}


def test_an_unknown_value_is_counted_by_value_and_stored():
    chunk = validate_chunk(JOBS, jobs({"jobStatus": "Paused"}, {"jobStatus": "Hold"}, {"jobStatus": "Paused"}))
    assert chunk.drift == {Drift(DriftKind.UNKNOWN_VALUE, "jobStatus", "Paused"): 2}
    assert chunk.columns["job_status"] == ("Paused", "Hold", "Paused")


def test_an_enum_that_became_free_text_is_counted_without_an_end_of_values():
    chunk = validate_chunk(JOBS, jobs(*({"jobStatus": f"Said {number}" * 100} for number in range(MAX_VALUES + 5))))
    assert len(chunk.drift) <= MAX_VALUES + 1
    assert chunk.drift[Drift(DriftKind.UNKNOWN_VALUE, "jobStatus")] == 5
    assert chunk.drift.total() == MAX_VALUES + 5
    assert max(len(one.value) for one in chunk.drift) == 100


def test_an_unknown_key_is_found_on_every_level_that_has_columns():
    added = {"aiSummary": {"score": 1}, "jobGeneratedLeadSource": {"jobId": 1, "employeeId": 2, "since": None}}
    assert validate_chunk(JOBS, jobs(added)).drift == {
        Drift(DriftKind.UNKNOWN_KEY, "aiSummary"): 1,
        Drift(DriftKind.UNKNOWN_KEY, "jobGeneratedLeadSource.since"): 1,
    }


def test_unknown_keys_are_searched_for_in_the_first_record_and_every_fiftieth():
    def found_at(place: int) -> int:
        changes: list[dict[str, Any]] = [{} for _ in range(SAMPLED + 1)]
        changes[place] = {"added": 1}
        return validate_chunk(JOBS, jobs(*changes)).drift.total()

    assert (found_at(0), found_at(1), found_at(SAMPLED)) == (1, 0, 1)


def test_the_words_for_people_hold_no_value_of_the_source():
    (one,) = validate_chunk(JOBS, jobs({"jobStatus": "0171 555 0199"})).drift
    assert str(one) == "unknown value: jobStatus"
