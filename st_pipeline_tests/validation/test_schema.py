"""A chunk checked by its spec: a wrong shape is our mistake, and never passes for a record's."""

import pyarrow as pa
import pytest

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import KEY, Severity
from st_pipeline.errors import ConfigurationError
from st_pipeline.validation.schema import checked_columns, failing_rows, pandera_schema


@pytest.mark.parametrize("table", [pa.table({KEY: ["1"]}), pa.table({"total": ["1"]})], ids=["text", "missing"])
def test_a_key_that_is_no_number_column_is_our_mistake(table: pa.Table):
    with pytest.raises(ConfigurationError, match=r"invoices: column .*: spec and chunk differ"):
        failing_rows(ENTITIES["invoices"], table)


@pytest.mark.parametrize("entity", ENTITIES)
def test_every_rule_that_rejects_is_in_the_schema_and_its_column_is_checked(entity: str):
    spec = ENTITIES[entity]
    rejecting = {rule.column for rule in spec.rules if rule.severity is Severity.REJECT}
    assert set(pandera_schema(spec).columns) == rejecting
    assert rejecting <= {column.name for column in checked_columns(spec)}
