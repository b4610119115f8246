"""The SQLAlchemy table of an EntitySpec.

Here: the translation. Not here: creating tables, which the migrations in sql/ do; a test compares the two.
"""

import functools
from typing import Any

from sqlalchemy import BIGINT, BOOLEAN, DATE, DOUBLE_PRECISION, INTEGER, NUMERIC, TEXT, Column, MetaData, Table
from sqlalchemy.dialects.postgresql import JSON, JSONB, TIMESTAMP
from sqlalchemy.types import TypeEngine

from st_pipeline.entities.spec import EntitySpec, Kind

TYPES: dict[Kind, TypeEngine[Any]] = {
    Kind.INTEGER: BIGINT(),
    Kind.TEXT: TEXT(),
    Kind.BOOLEAN: BOOLEAN(),
    Kind.DECIMAL: NUMERIC(),
    Kind.FLOAT: DOUBLE_PRECISION(),
    Kind.TIMESTAMP: TIMESTAMP(timezone=True),
    Kind.DAY: DATE(),
    Kind.JSON: JSONB(),
}
METADATA = MetaData()


@functools.cache
def table_of(spec: EntitySpec) -> Table:
    """The table of an entity: credential_id, the entity's columns, then those that the pipeline adds."""
    return Table(
        spec.table,
        METADATA,
        Column("credential_id", BIGINT(), primary_key=True),
        *(
            Column(
                column.name,
                TYPES[column.kind],
                primary_key=column.name in spec.key,
                nullable=column.name not in spec.key,
            )
            for column in spec.columns
        ),
        Column("full_data", JSON()),
        Column("record_hash", BIGINT(), nullable=False),
        Column("spec_version", INTEGER(), nullable=False),
        Column("local_synced_at", TIMESTAMP(timezone=True), nullable=False),
        Column("deleted_at", TIMESTAMP(timezone=True)),
    )
