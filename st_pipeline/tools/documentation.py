"""The parts of docs/ that are made from code: settings, commands, what programs import, entities, their scopes, checks.

Here: their text, and `python -m st_pipeline.tools.documentation`, which writes them. Not here: prose. A test fails when
a page lags behind the code.
"""

import inspect
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin
from zoneinfo import ZoneInfo

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from st_pipeline.checks.registry import CHECKS
from st_pipeline.checks.spec import TENANT, Check
from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import EntitySpec, Kind, Severity
from st_pipeline.rates import Rate
from st_pipeline.settings import Settings, variable_name
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import StreamSpec
from st_pipeline.tools.commands_page import commands_page
from st_pipeline.tools.python_page import python_page

DOCS = Path("docs")
BEGIN = "<!-- from here to the end mark: made by python -m st_pipeline.tools.documentation -->"
END = "<!-- end -->"

SETTINGS_INTRODUCTION = """\
# Settings

Made from `st_pipeline/settings/` by `python -m st_pipeline.tools.documentation`; do not edit it here.

Each setting is an environment variable, and may be set in `.env` in the working folder instead. Set each in one place:
for `st-pipeline` commands the environment wins over `.env`, in Dagster's own processes `.env` wins. Those read it when
they start: **restart them after a change**.

A wrong value stops the command with one line that names the variable. `st-pipeline doctor` says whether all can be
read.

`st-pipeline up` writes two more variables into `.env`, for Dagster itself: `DAGSTER_HOME` (the folder with
`dagster.yaml`) and `ST_PIPELINE_DAGSTER_STORAGE` (the address of its storage, which `dagster.yaml` takes from there).
"""

# The word of a setting's name that says what is counted.
UNITS = {"attempts": "tries", "burst": "requests", "port": "port", "share": "share", "size": "records"}
NAMED_UNITS = ("seconds", "minutes", "days", "bytes", "rows", "pages", "tenants")
KINDS = {
    Path: "folder",
    SecretStr: "secret",
    Rate: "rate",
    ZoneInfo: "time zone",
    bool: "true or false",
    frozenset: "names",
    Mapping: "names with numbers",
    str: "text",
}
TEXT_UNITS = {"url": "address", "host": "address", "cron": "cron"}


def settings_page() -> str:
    """docs/settings.md: a table for each group, under its docstring."""
    parts = [SETTINGS_INTRODUCTION]
    for group in Settings.__bases__:
        if group is BaseSettings or not issubclass(group, BaseModel) or not group.model_fields:
            continue
        title, _, note = (inspect.getdoc(group) or "").partition("\n")
        parts.append(f"\n## {title.rstrip('.')}\n")
        parts.append(f"\n{' '.join(note.split())}\n" if note else "")
        parts.append("\n| Variable | Default | Unit | What it is, and why this default |\n|---|---|---|---|\n")
        for name, info in group.model_fields.items():
            cells = (f"`{variable_name(name)}`", default_text(info), unit_text(name, info), info.description or "")
            parts.append(table_row(*cells))
    return "".join(parts)


def default_text(info: FieldInfo) -> str:
    """A default as one would write it into `.env`."""
    value = info.default
    if value is None or value in (frozenset(), {}):
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def unit_text(name: str, info: FieldInfo) -> str:
    """What the value counts, or what kind of value it is, and its bounds."""
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    if choices:
        return " or ".join(f"`{choice}`" for choice in choices)
    words = name.split("_")
    counted = [UNITS.get(word, word) for word in words if word in UNITS or word in NAMED_UNITS]
    kind = _plain_type(info.annotation)
    if kind in (int, float):
        return ", ".join([counted[0] if counted else "number", *_bounds(info)])
    named = TEXT_UNITS.get(words[-1])
    return f"{named}, secret" if named and kind is SecretStr else named or KINDS[kind]


def _plain_type(annotation: Any) -> Any:
    """`SecretStr | None` is SecretStr, `frozenset[str]` is frozenset."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(one for one in get_args(annotation) if one is not type(None))
    return get_origin(annotation) or annotation


def _bounds(info: FieldInfo) -> Iterator[str]:
    """The bounds in words: `1 to 5,000`, or those there are."""
    found = {
        name: f"{bound:,}"
        for rule in info.metadata
        for name in ("gt", "ge", "lt", "le")
        if (bound := getattr(rule, name, None)) is not None
    }
    if found.keys() == {"ge", "le"}:
        yield f"{found['ge']} to {found['le']}"
        return
    words = {"gt": "above {}", "ge": "{} or more", "lt": "below {}", "le": "at most {}"}
    yield from (words[name].format(bound) for name, bound in found.items())


def entities_part() -> str:
    """The part of docs/data-model.md between the marks: a section for each entity and each stream."""
    return "\n".join([*map(_entity, ENTITIES.values()), *map(_stream, STREAMS.values())])


def _entity(spec: EntitySpec) -> str:
    facts = [f"Read from: {_sources(one)}; scope `{one.scope}`." for one in spec.read_as]
    if spec.lists:
        partitions = [f"{fact[:-1]}; partition `{one.table}`." for fact, one in zip(facts, spec.lists, strict=True)]
        facts = [*partitions, f"Key: `credential_id`, {', '.join(f'`{name}`' for name in spec.key)}."]
    facts.append(f"Deleted when: {spec.deletion_sign.value}.")
    if spec.feed_path is None:
        facts.append("Polled when its last poll is older than `ST_PIPELINE_REFERENCE_POLL_MINUTES`.")
    if spec.after:
        facts.append(f"Not tried in a sync in which one of these failed: {', '.join(spec.after)}.")
    return _section(spec, f"Table `{spec.table}`. {spec.description}", facts, "In the record")


def _sources(spec: EntitySpec) -> str:
    feed = f"feed `{spec.feed_path}`, " if spec.feed_path else ""
    return f"{feed}list `{spec.list_path}`"


def _stream(spec: StreamSpec) -> str:
    tables = ", ".join(f"`st_{name}`" for name in spec.after)
    return _section(spec, spec.description, [f"Built from: {tables}."], "From")


def scopes_part() -> str:
    """The part of docs/real-account.md between the marks: each scope with the entities that need it."""
    titles: dict[str, list[str]] = {}
    for one in [*(one for one in LISTS.values() if one.name in ENTITIES), *LISTS.values()]:
        if one.title.lower() not in titles.setdefault(one.scope, []):
            titles[one.scope].append(one.title.lower())
    rows = [table_row(f"`{scope}`", ", ".join(found)) for scope, found in sorted(titles.items())]
    return "".join(["| Scope | What it lets the app read |\n|---|---|\n", *rows])


def checks_part() -> str:
    """The part of docs/trust.md between the marks: each check with its thresholds and what to do."""
    head = "| Check | Fails as | It passes when | Thresholds | What to do when it fails |\n|---|---|---|---|---|\n"
    return "".join([head, *map(_check, CHECKS)])


def _check(check: Check) -> str:
    on = "" if check.assets == (TENANT,) else ", on " + " and ".join(check.assets)
    on = ", on each entity" if set(check.assets) == set(ENTITIES) else on
    limits = [f"`{one.name}` {one.default:g}: {one.description}" for one in check.thresholds]
    return table_row(f"`{check.name}`{on}", check.severity, check.description, "<br>".join(limits), check.advice)


def _section(spec: EntitySpec | StreamSpec, about: str, facts: list[str], origin: str) -> str:
    rules = {severity: [rule.name for rule in spec.rules if rule.severity is severity] for severity in Severity}
    facts = [*facts, f"Rejected when: {', '.join(rules[Severity.REJECT])}."]
    if rules[Severity.WARN]:
        facts.append(f"Written, and counted as a warning, when: {', '.join(rules[Severity.WARN])}.")
    lines = [f"### {spec.name}\n\n{about}\n\n", *(f"- {fact}\n" for fact in facts)]
    lines.append(f"\n| Column | Type | {origin} | Notes |\n|---|---|---|---|\n")
    lines += [table_row(f"`{c.name}`", _type(c.kind), f"`{c.source}`", c.comment) for c in spec.columns]
    return "".join(lines)


def _type(kind: Kind) -> str:
    return "timestamptz" if kind is Kind.TIMESTAMP else kind.value


def table_row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def with_part(page: str, part: str) -> str:
    """The page with the text between its marks replaced. Raises ValueError when a mark is missing."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page lacks a mark: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{part}\n{END}{after}"


def write(docs: Path = DOCS) -> None:
    """Write the made parts into the pages of this folder."""
    (docs / "settings.md").write_text(settings_page())
    (docs / "commands.md").write_text(commands_page())
    (docs / "python.md").write_text(python_page())
    parts = {"data-model.md": entities_part(), "real-account.md": scopes_part(), "trust.md": checks_part()}
    for name, part in parts.items():
        page = docs / name
        page.write_text(with_part(page.read_text(), part))


if __name__ == "__main__":
    write()
