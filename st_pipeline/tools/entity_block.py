"""A spec as code, and where it goes in the modules of `entities/`.

Here: a block and a column as text, and putting them into a module. Not here: what a spec says (scaffold), SQL.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from st_pipeline.entities.meanings import SHARED
from st_pipeline.entities.spec import KEY, Column, DeletionSign, EntitySpec
from st_pipeline.errors import ConfigurationError

LINE_LENGTH = 120
NEW_MODULE = '''"""{title}. Data only."""

from types import MappingProxyType

from st_pipeline.entities.spec import Column, EntitySpec, Kind, key_column, key_rules

ENTITIES = ()
'''


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
    if column.description or column.source not in SHARED:  # an empty one is the place where a person writes it
        parts.append(f"description={_quoted(column.description)}")
    if column.known_values:
        comma = "," if len(column.known_values) == 1 else ""
        parts.append(f"known_values=({', '.join(map(_quoted, column.known_values))}{comma})")
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


def add_entity(folder: Path, spec: EntitySpec) -> list[Path]:
    """Put the block into the module of its area; a new area is registered. Returns the files that changed."""
    module, registry = folder / f"{spec.area}.py", folder / "__init__.py"
    changed = [module]
    if not module.exists():
        registry.write_text(_with_area(registry.read_text(), spec.area))
        module.write_text(NEW_MODULE.format(title=spec.area.replace("_", " ").capitalize()))
        changed.append(registry)
    before, mark, names = module.read_text().rpartition("\nENTITIES = (")
    if not mark:
        raise ConfigurationError(f"{module} has no line that begins with ENTITIES = (: add the entity by hand")
    listed = re.findall(r"\w+", names.partition(")")[0])
    inside = ", ".join([*listed, spec.name.upper()]) + ("" if listed else ",")
    module.write_text(f"{before.rstrip()}\n\n{block_of(spec)}\n\nENTITIES = ({inside})\n")
    return changed


def _with_area(registry: str, area: str) -> str:
    """The registry with one import more and the area at the end of AREAS."""
    imported = re.search(r"(?<=^from st_pipeline\.entities import \(\n)[\w,\s]+(?=^\))", registry, re.MULTILINE)
    areas = re.search(r"(?<=^AREAS = \()[\w,\s]+(?=\)$)", registry, re.MULTILINE)
    if imported is None or areas is None:
        raise ConfigurationError("the registry of entities has another form than expected: add the area by hand")
    names = sorted([*re.findall(r"\w+", imported[0]), area])
    known = ", ".join([*re.findall(r"\w+", areas[0]), area])
    text = f"{registry[: areas.start()]}{known}{registry[areas.end() :]}"
    return text[: imported.start()] + "".join(f"    {name},\n" for name in names) + text[imported.end() :]


def add_columns(folder: Path, spec: EntitySpec, columns: Sequence[Column]) -> Path:
    """Put columns at the end of an entity's block and raise its version. Returns the module's path."""
    module = folder / f"{spec.area}.py"
    before, mark, rest = module.read_text().partition(f"\n{spec.name.upper()} = EntitySpec(\n")
    block, end, after = rest.partition("\n)\n")
    inside, columns_end, tail = block.partition("\n    ),")
    if not (mark and end and columns_end) or "\n    columns=(" not in f"\n{inside}":
        raise ConfigurationError(f"{module} has no plain block of {spec.name}: add the columns by hand")
    lines = "".join(f"\n{line}" for column in columns for line in _column_lines(column))
    tail = re.sub(r"\n    version=\d+,", "", tail) + f"\n    version={spec.version + 1},"
    module.write_text(f"{before}{mark}{inside}{lines}{columns_end}{tail}{end}{after}")
    return module
