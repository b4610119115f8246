"""What a materialization and a run show, for results that a small healthy tenant does not have."""

from collections import Counter

import pytest
from sqlalchemy import Engine, inspect, text

from st_pipeline.defs.metadata import column_schema, counts_from_tags, materialization_metadata, result_tags, run_tags
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.protocol import Counts, Mode
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import StreamSpec
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.context import EntityResult

TYPES = text("""
    SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 AND NOT attisdropped
""")
COUNTS = Counts(processed=10, created=4, updated=3, unchanged=1, failed=2, deleted=5, pages=6)


def test_warnings_notes_and_rejects_are_shown():
    result = EntityResult("invoices", Mode.FULL, COUNTS, seconds=4.0, nul_records=1)
    result.warnings = Counter({"total is missing": 2})
    result.notes = ["continued a full sync that had not finished", "3 records that were gone are back"]
    metadata = materialization_metadata(result, sync_log_id=7)
    assert metadata["warnings"].value == {"total is missing": 2}
    assert metadata["notes"].text.startswith("continued a full sync that had not finished; 3 records")
    assert {name: metadata[name] for name in ("processed", "successful", "failed", "deleted", "pages")} == {
        "processed": 10,
        "successful": 8,
        "failed": 2,
        "deleted": 5,
        "pages": 6,
    }
    assert (metadata["rows_per_second"], metadata["records_with_nul"], metadata["sync_log_id"]) == (2.5, 1, 7)


def test_an_entity_that_took_no_time_and_left_no_log_is_shown_too():
    metadata = materialization_metadata(EntityResult("invoices", Mode.INCREMENTAL), sync_log_id=None)
    assert metadata["rows_per_second"] == 0
    assert {"sync_log_id", "warnings", "notes"}.isdisjoint(metadata)


def test_a_run_of_several_companies_or_environments_says_several():
    def shown(*tenants: str) -> tuple[str, str]:
        tags = run_tags(SyncConfiguration(), tenants, "an id")
        return tags["st_pipeline/company"], tags["st_pipeline/environment"]

    assert shown("acme") == ("acme", "production")
    assert shown("acme", "acme@integration") == ("acme", "several")
    assert shown("acme@integration", "birch@integration") == ("several", "integration")


def test_a_run_s_figures_survive_being_a_tag():
    written = result_tags(COUNTS, failed_pairs=3)
    assert written == {
        "st_pipeline/result": "processed 10, successful 8, failed 2, created 4, updated 3, unchanged 1, deleted 5, "
        "failed_entities 3"
    }
    read = counts_from_tags(written)
    read.pages = COUNTS.pages  # the sync log has no pages, and so the tags have none
    assert read == COUNTS
    assert counts_from_tags({}) == Counts()


@pytest.mark.parametrize("spec", [*ENTITIES.values(), *STREAMS.values()], ids=lambda spec: spec.name)
def test_every_column_of_the_table_is_shown_with_its_type_and_what_it_means(
    engine: Engine, spec: EntitySpec | StreamSpec
):
    shown = column_schema(spec).columns
    found = {column["name"]: column for column in inspect(engine).get_columns(spec.table)}
    assert {column.name: column.description for column in shown} == {
        name: column["comment"] for name, column in found.items()
    }
    with engine.connect() as connection:
        types = connection.execute(TYPES, {"table": spec.table})
        assert {column.name: column.type for column in shown} == dict(types.all())


def test_the_tenant_comes_first_and_the_key_is_not_null():
    first = column_schema(ENTITIES["custom_fields"]).columns[:3]
    assert [(column.name, column.constraints.nullable) for column in first] == [
        ("credential_id", False),
        ("owner", False),
        ("st_id", False),
    ]
    stream = column_schema(STREAMS["members_stream"]).columns
    assert [column.name for column in stream if not column.constraints.nullable] == [
        "tenant",
        "software",
        "customer_id",
    ]


def test_the_usual_values_of_a_column_are_shown():
    columns = {column.name: column for column in column_schema(ENTITIES["memberships"]).columns}
    assert str(columns["status"].description).endswith("; usually Active, Suspended, Expired, Canceled, Deleted")
    assert columns["memo"].description == "a note that people typed"
