"""A new entity's files, from what ServiceTitan documents about it: `python -m st_pipeline.tools.scaffold tag_types`.

Here: facts to a spec, a spec to its block of code, specs to a migration, and where the two go. Not here: the facts
themselves (simulator/facts.json), what only a person knows (a description, what an entity waits for): the block is a
beginning. CONTRIBUTING.md walks through it.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import msgspec
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS
from sqlalchemy.schema import CreateTable

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.crm import EVER_MODIFIED
from st_pipeline.entities.spec import KEY, Column, DeletionSign, EntitySpec, Kind, key_column, key_rules
from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.tables import table_of
from st_pipeline.simulator.api_catalogue import FACTS_FILE, EntityFacts, Field, all_facts

KINDS = {
    "int64": Kind.INTEGER,
    "int32": Kind.INTEGER,
    "decimal": Kind.DECIMAL,
    "double": Kind.FLOAT,
    "boolean": Kind.BOOLEAN,
    "date-time": Kind.TIMESTAMP,
    "date": Kind.DAY,
    "array": Kind.JSON,
}  # any other is text
# ServiceTitan: accounting writes money as text, and no document says which texts are money.
MONEY_AS_TEXT = {"subTotal", "salesTax", "total", "balance", "discountTotal", "unappliedAmount"}
# What people join by. An index costs a write 1 to 2 µs, so no others.
JOINED = ("customer_id", "location_id", "job_id", "business_unit_id")
LINE_LENGTH = 120
NEW_MODULE = '''"""{title}. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Kind, key_column, key_rules

ENTITIES = ()
'''
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


def spec_of(facts: EntityFacts) -> EntitySpec:
    """The spec as far as the documents tell: paths, parameters, every field as a column."""
    area = facts.list_path.split("/")[1].replace("-", "_")
    feed_only = {field.name for field in facts.export_only_fields}
    goes_by_flag = "active" in feed_only and not facts.active_filter and "ids" not in facts.list_params
    columns = [
        replace(column, feed_only=column.path[0] in feed_only)
        for field in (*facts.fields, *facts.export_only_fields)
        for column in _columns(field, (), area, may_be_null=False)
    ]
    return EntitySpec(
        name=facts.name,
        area=area,
        title=facts.name.replace("_", " ").capitalize(),
        list_path=facts.list_path,
        feed_path=facts.export_path,
        list_params=MappingProxyType({**_every_state(facts), **(EVER_MODIFIED if goes_by_flag else {})}),
        sort="+Id" if "sort" in facts.list_params and "Id" in _documented_sorts(facts.name) else None,
        ids_param="ids" in facts.list_params,
        deletion_sign=DeletionSign.INACTIVE if goes_by_flag else DeletionSign.ABSENT,
        scope=facts.scope,
        columns=tuple(_with_names_that_sql_takes(facts.name, columns)),
        rules=key_rules(),
    )


def _every_state(facts: EntityFacts) -> dict[str, str]:
    """What a list needs in order to show inactive records, and what it hides unless asked."""
    asked = {facts.active_filter: "All" if facts.active_filter == "activeState" else "Any"}
    return {key: value for key, value in asked.items() if key} | dict.fromkeys(facts.include_flags, "true")


def _documented_sorts(name: str) -> list[str]:
    """The sort fields that stand in the documents; EntityFacts has a guess where they list none."""
    listed = msgspec.json.decode(FACTS_FILE.read_bytes())[name.partition(".")[0]]["sort_fields"]
    return listed if isinstance(listed, list) else []


def _columns(field: Field, above: tuple[str, ...], area: str, *, may_be_null: bool) -> Iterator[Column]:
    path = (*above, field.name)
    may_be_null = may_be_null or field.nullable or field.null_seen_live
    if field.kind == "object":
        for each in field.properties:
            yield from _columns(each, path, area, may_be_null=may_be_null)
        return
    is_money = area == "accounting" and field.kind == "string" and not above and field.name in MONEY_AS_TEXT
    if path == ("id",):
        yield key_column()
    else:
        kind = Kind.DECIMAL if is_money else KINDS.get(field.kind, Kind.TEXT)
        yield Column(
            ".".join(path),
            kind,
            known_values=field.values,
            description="HTML" if field.format == "html" else "",
            never_null=not may_be_null,
        )


def _with_names_that_sql_takes(entity: str, columns: Sequence[Column]) -> Iterator[Column]:
    """`end` becomes `appointment_end`: a reserved word would need quotes in every query."""
    for column in columns:
        is_reserved = column.name in RESERVED_WORDS
        yield replace(column, name=f"{entity.removesuffix('s')}_{column.name}") if is_reserved else column


def block_of(spec: EntitySpec) -> str:
    """The spec as code, in the form of the modules in entities/."""
    asked = ", ".join(f"{_quoted(key)}: {_quoted(value)}" for key, value in spec.list_params.items())
    values = {
        "name": _quoted(spec.name),
        "area": _quoted(spec.area),
        "title": _quoted(spec.title),
        "description": _quoted(spec.description),
        "list_path": _quoted(spec.list_path),
        "feed_path": spec.feed_path and _quoted(spec.feed_path),
        "list_params": asked and f"MappingProxyType({{{asked}}})",
        "sort": spec.sort and _quoted(spec.sort),
        "ids_param": None if spec.ids_param else "False",
        "deletion_sign": None
        if spec.deletion_sign is DeletionSign.ABSENT
        else f"DeletionSign.{spec.deletion_sign.name}",
        "scope": _quoted(spec.scope),
    }
    lines = [f"{spec.name.upper()} = EntitySpec("]
    lines += [f"    {name}={value}," for name, value in values.items() if value]
    lines += ["    columns=(", *(line for column in spec.columns for line in _column_lines(column)), "    ),"]
    return "\n".join([*lines, "    rules=key_rules(),", ")"])


def _column_lines(column: Column) -> list[str]:
    if column.name == KEY:
        return ["        key_column(),"]
    parts = [_quoted(column.source), f"Kind.{column.kind.name}"]
    if column.name != Column(column.source, column.kind).name:
        parts.append(f"name={_quoted(column.name)}")
    if column.known_values:
        comma = "," if len(column.known_values) == 1 else ""
        parts.append(f"known_values=({', '.join(map(_quoted, column.known_values))}{comma})")
    if column.description:
        parts.append(f"description={_quoted(column.description)}")
    if column.never_null:
        parts.append("never_null=True")
    if column.feed_only:
        parts.append("feed_only=True")
    line = f"        Column({', '.join(parts)}),"
    if len(line) <= LINE_LENGTH:
        return [line]
    return ["        Column(", *(f"            {part}," for part in parts), "        ),"]


def _quoted(text: str) -> str:
    return f'"{text}"'


def migration_of(specs: Sequence[EntitySpec], revision: str, down: str) -> str:
    """A migration that makes these entities' tables, with an index on each column that people join by."""
    up = [part for spec in specs for part in (table_sql(spec), *index_sql(spec))]
    title = specs[0].title if len(specs) == 1 else f"{specs[0].title} and {len(specs) - 1} more"
    down_sql = "\n".join(f"DROP TABLE {spec.table};" for spec in reversed(specs))
    return MIGRATION.format(title=title, revision=revision, down=down, up="\n".join(up), down_sql=down_sql)


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


def add_to_module(folder: Path, spec: EntitySpec) -> Path:
    """Put the block into the module of its area, which is made if there is none. Returns the module's path."""
    module = folder / f"{spec.area}.py"
    if not module.exists():
        module.write_text(NEW_MODULE.format(title=spec.area.replace("_", " ").capitalize()))
    before, registry, names = module.read_text().rpartition("\nENTITIES = (")
    if not registry:
        raise ConfigurationError(f"{module} has no line that begins with ENTITIES = (: add the entity by hand")
    listed = [name for name in re.findall(r"\w+", names.partition(")")[0]) if name]
    inside = ", ".join([*listed, spec.name.upper()]) + ("" if listed else ",")
    module.write_text(f"{before.rstrip()}\n\n{block_of(spec)}\n\nENTITIES = ({inside})\n")
    return module


def add_migration(folder: Path, specs: Sequence[EntitySpec]) -> Path:
    """Write the next migration. Returns its path."""
    newest = max(path.name.split("_")[0] for path in folder.glob("[0-9]*.py"))
    number = f"{int(newest) + 1:04}"
    path = folder / f"{number}_{specs[0].name if len(specs) == 1 else 'entities'}.py"
    path.write_text(migration_of(specs, number, newest))
    return path


def main(names: Sequence[str], checkout: Path) -> None:
    """Write what can be written for these entities and say what is left to do. Raises ConfigurationError."""
    facts = all_facts()
    unknown = sorted(set(names) - facts.keys())
    if unknown or not names:
        raise ConfigurationError(f"no facts about {', '.join(unknown) or 'nothing'}: first add them to facts.json")
    known = sorted(set(names) & ENTITIES.keys())
    if known:
        raise ConfigurationError(f"{', '.join(known)}: an entity already")
    specs = [spec_of(facts[name]) for name in names]
    modules = [add_to_module(checkout / "st_pipeline" / "entities", spec) for spec in specs]
    migration = add_migration(checkout / "sql" / "versions", specs)
    for path in dict.fromkeys([*modules, migration]):
        print(path.relative_to(checkout))  # noqa: T201 - a command


if __name__ == "__main__":
    try:
        main(sys.argv[1:], Path.cwd())
    except ConfigurationError as error:
        sys.exit(str(error))
