"""A migration for new entities and new columns, as a file in `sql/versions/`.

Here: their SQL and the file. Not here: running migrations; what a spec says (scaffold).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from st_pipeline.entities.spec import Column, EntitySpec
from st_pipeline.postgres.tables import table_of

# What people join by. An index costs a write 1 to 2 µs, so no others.
JOINED = ("customer_id", "location_id", "job_id", "business_unit_id")
MIGRATION = '''"""{title}."""

from alembic import op

revision = "{revision}"
down_revision = "{down}"

UP = """
{up}
"""

DOWN = """
{down_sql}
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
'''


def add_migration(
    folder: Path, new: Sequence[EntitySpec], grown: Mapping[EntitySpec, Sequence[Column]] | None = None
) -> Path:
    """Write the next migration: tables of new entities, columns of those that grow. Returns its path."""
    newest = max(path.name.split("_")[0] for path in folder.glob("[0-9]*.py"))
    number = f"{int(newest) + 1:04}"
    specs = [*new, *(grown or ())]
    name = (specs[0].name if len(specs) == 1 else "entities") + ("" if new else "_columns")
    path = folder / f"{number}_{name}.py"
    path.write_text(migration_of(number, newest, new, grown or {}))
    return path


def migration_of(
    revision: str, down: str, new: Sequence[EntitySpec], grown: Mapping[EntitySpec, Sequence[Column]]
) -> str:
    """A table for each new entity, with an index on each column that people join by, and each new column."""
    specs = [*new, *grown]
    title = specs[0].title if len(specs) == 1 else f"{specs[0].title} and {len(specs) - 1} more"
    columns = [(spec.table, column) for spec, added in grown.items() for column in added]
    up = [part for spec in new for part in (table_sql(spec), *index_sql(spec))]
    up += [f"ALTER TABLE {table} ADD COLUMN {column.name} {_type(column)};" for table, column in columns]
    undo = [f"ALTER TABLE {table} DROP COLUMN {column.name};" for table, column in reversed(columns)]
    undo += [f"DROP TABLE {spec.table};" for spec in reversed(new)]
    return MIGRATION.format(
        title=title if new else f"{title}: new columns",
        revision=revision,
        down=down,
        up="\n".join(up),
        down_sql="\n".join(undo),
    )


def _type(column: Column) -> str:
    return column.kind.value.replace("timestamp with time zone", "timestamptz")


def table_sql(spec: EntitySpec) -> str:
    """CREATE TABLE, as Postgres takes it and people write it."""
    made = str(CreateTable(table_of(spec)).compile(dialect=postgresql.dialect())).strip()  # type: ignore[no-untyped-call]
    made = re.sub(r"\bTIMESTAMP WITH TIME ZONE\b", "timestamptz", made)
    made = re.sub(r"\b(BIGINT|TEXT|BOOLEAN|NUMERIC|DOUBLE PRECISION|DATE|JSONB|JSON|INTEGER)\b", _lower, made)
    lines = [line.rstrip() for line in made.replace("\t", "    ").splitlines() if line.strip()]
    return "\n".join(lines) + ";"


def _lower(found: re.Match[str]) -> str:
    return found[0].lower()


def index_sql(spec: EntitySpec) -> Iterator[str]:
    """CREATE INDEX for each column that people join by; none for a list that is read whole."""
    for name in JOINED if spec.feed_path else ():
        if spec.has(name):
            yield f"CREATE INDEX {spec.table}_{name.removesuffix('_id')} ON {spec.table} (credential_id, {name});"
