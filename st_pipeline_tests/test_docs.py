"""The docs say what is true: made parts are up to date, commands parse, links lead somewhere, names are right.

The SQL in them is run by test_docs_sql.py.
"""

import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import grimp
import pytest
from sqlalchemy import Engine, inspect

import st_pipeline
from st_pipeline import errors
from st_pipeline.cli import cli
from st_pipeline.entities import LISTS
from st_pipeline.settings import Settings, variable_name
from st_pipeline.tools.commands_page import commands_page
from st_pipeline.tools.documentation import (
    BEGIN,
    END,
    checks_part,
    entities_part,
    scopes_part,
    settings_page,
    with_part,
    write,
)
from st_pipeline.tools.python_page import python_page
from st_pipeline_tests.documents import PACKAGE, PAGES, ROOT, Page

SHELL_ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "<"}
# Named in the docs, made only when the program runs or by the reader.
NOT_IN_THE_CHECKOUT = {"state.json"}
# Raised as one of their subclasses only.
KINDS_OF_ERRORS = {"PipelineError", "AuthError", "TransientApiError", "DataMappingError"}
OTHER_VARIABLES = {"ST_PIPELINE_DAGSTER_STORAGE", "ST_PIPELINE_SIMULATOR_URL"}
PATH_LIKE = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|md|toml|yaml|json|lock)|(?:[\w.-]+/)+")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def page(name: str) -> Page:
    return next(one for one in PAGES if one.name == name)


def test_the_settings_page_is_what_the_settings_say():
    assert page("settings.md").text == settings_page(), "run python -m st_pipeline.tools.documentation"


def test_the_commands_page_is_what_the_commands_say():
    assert page("commands.md").text == commands_page(), "run python -m st_pipeline.tools.documentation"


def test_the_page_for_programs_is_what_can_be_imported():
    assert page("python.md").text == python_page(), "run python -m st_pipeline.tools.documentation"


def test_every_error_can_be_imported_from_the_package():
    """Whoever catches one must not need to know our rooms."""
    found = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, Exception)}
    assert len(found) > 20
    assert {name for name in found if getattr(st_pipeline, name, None) is not getattr(errors, name)} == set()
    assert found <= set(st_pipeline.__all__) <= set(dir(st_pipeline))


def test_the_newest_section_of_the_changelog_is_this_version_s():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    newest = re.search(r"^## \[([\d.]+)\] - (unreleased|\d{4}-\d\d-\d\d)$", page("CHANGELOG.md").text, re.MULTILINE)
    assert newest is not None
    assert newest[1] == version


def test_every_setting_stands_in_the_page_once():
    """A setting in no group would vanish from the page without a word."""
    rows = re.findall(r"^\| `([A-Z_]+)` \|", settings_page(), re.MULTILINE)
    assert sorted(rows) == sorted(map(variable_name, Settings.model_fields))


def test_the_entities_in_the_data_model_are_what_the_specs_say():
    text = page("data-model.md").text
    assert text == with_part(text, entities_part()), "run python -m st_pipeline.tools.documentation"


def test_the_checks_are_what_the_registry_says():
    text = page("trust.md").text
    assert text == with_part(text, checks_part()), "run python -m st_pipeline.tools.documentation"


def test_the_scopes_to_ask_for_are_what_the_specs_say():
    text = page("real-account.md").text
    assert text == with_part(text, scopes_part()), "run python -m st_pipeline.tools.documentation"
    assert {spec.scope for spec in LISTS.values() if f"| `{spec.scope}` |" not in text} == set()


def test_the_made_parts_are_written_where_they_belong(tmp_path: Path):
    parts = {"data-model.md": entities_part(), "real-account.md": scopes_part(), "trust.md": checks_part()}
    for name in parts:
        (tmp_path / name).write_text(f"# Before\n\n{BEGIN}\nzzz\n{END}\n\nAfter\n")
    write(tmp_path)
    assert (tmp_path / "settings.md").read_text() == settings_page()
    for name, part in parts.items():
        written = (tmp_path / name).read_text()
        found = (written.startswith("# Before\n"), written.endswith("\nAfter\n"), "zzz" in written)
        assert found == (True, True, False)
        assert part in written


@pytest.mark.parametrize("text", ["no mark", BEGIN, f"{END} {BEGIN}"])
def test_a_page_without_its_marks_is_refused(text: str):
    with pytest.raises(ValueError, match="lacks a mark"):
        with_part(text, "part")


def test_every_table_and_view_is_explained(engine: Engine):
    found = inspect(engine)
    names = {*found.get_table_names(), *found.get_view_names()}
    assert len(names) > 10
    assert [name for name in sorted(names) if f"`{name}`" not in page("data-model.md").text] == []


def commands() -> Iterator[tuple[str, str, bool]]:
    """Page, command line, and whether it is complete: one in running text may leave out arguments."""
    for one in PAGES:
        for line in [*one.lines("sh"), *(line for line in one.lines("") if line.startswith("st-pipeline "))]:
            if "st-pipeline" in line.partition("#")[0]:
                yield one.name, line, True
        for span in one.spans():
            if span.startswith("st-pipeline "):
                yield one.name, span, False


def parse(line: str, *, complete: bool) -> None:
    """Let click read the words after `st-pipeline`; nothing is executed. Raises UsageError or LookupError."""
    words = shlex.split(line, comments=True)
    at = next((number for number, word in enumerate(words) if Path(word).name == "st-pipeline"), None)
    if at is None:
        return  # the name stands in a path or a value
    rest = words[at + 1 :]
    rest = rest[: next((number for number, word in enumerate(rest) if word in SHELL_ENDS), len(rest))]
    command: click.Command = cli
    context = click.Context(cli, info_name="st-pipeline")
    while isinstance(command, click.Group) and rest:
        found = command.get_command(context, rest[0])
        if found is None:
            raise LookupError(f"no command {rest[0]}")
        command, context = found, click.Context(found, info_name=rest.pop(0), parent=context)
    if isinstance(command, click.Group):
        if complete:
            raise LookupError("a group, not a command")
        return
    try:
        command.make_context(context.info_name, rest, parent=context.parent)
    except click.MissingParameter:
        if complete:
            raise


@pytest.mark.parametrize("one", list(commands()), ids=lambda one: f"{one[0]} {one[1]}")
def test_every_command_exists_with_its_options(one: tuple[str, str, bool]):
    parse(one[1], complete=one[2])


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("st-pipeline vanish", LookupError),
        ("st-pipeline companies vanish", LookupError),
        ("st-pipeline up --vanish", click.NoSuchOption),
        ("X=1 .venv/bin/st-pipeline companies add acme | cat", click.MissingParameter),
        ("st-pipeline credentials add acme -e staging", click.BadParameter),
        ("st-pipeline down now", click.UsageError),
    ],
)
def test_a_wrong_command_would_be_noticed(line: str, refusal: type[Exception]):
    with pytest.raises(refusal):
        parse(line, complete=True)


def test_every_make_target_and_module_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for one in PAGES for text in one.commands() for word in re.findall(r"\bmake ([\w-]+)", text)}
    modules = {word for one in PAGES for text in one.commands() for word in re.findall(r"python -m ([\w.]+)", text)}
    assert {"demo", "test"} <= named <= targets
    assert [module for module in sorted(modules) if importlib.util.find_spec(module) is None] == []


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_every_link_leads_somewhere(one: Page):
    broken = []
    for link in LINK.findall(one.without_blocks()):
        target, _, heading = link.partition("#")
        if target.startswith(("http://", "https://")):
            continue
        file = one.path if not target else (one.path.parent / target).resolve()
        if not file.exists() or (heading and heading not in Page(file).headings()):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_every_file_and_folder_named_exists(one: Page):
    named = {span for span in one.spans() if PATH_LIKE.fullmatch(span)} - NOT_IN_THE_CHECKOUT
    places = (ROOT, one.path.parent, PACKAGE)
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []


def test_the_folder_listing_names_what_is_there():
    listing = next(block for block in page("architecture.md").blocks("") if "definitions.py" in block)
    named = {
        name for line in listing.splitlines() for name in re.findall(r"[\w.]+(?:/|\.py)", line.strip().split("  ")[0])
    }
    there = {path.name for path in PACKAGE.glob("*.py")} | {f"{path.parent.name}/" for path in PACKAGE.glob("*/*.py")}
    assert there - named == {"__init__.py"}
    assert [name for name in named if not ((PACKAGE / name).exists() or (ROOT / name).exists())] == []


def test_the_picture_of_the_rooms_shows_every_room_and_true_imports():
    picture = page("architecture.md").blocks("mermaid")[0]
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    rooms = {room for layer in contract["layers"] for room in layer.split(" | ")}
    drawn: set[tuple[str, str]] = set()
    for line in picture.splitlines():
        steps = [[room.strip() for room in step.split("&")] for step in re.split(r"-->(?:\|[^|]*\|)?", line)]
        drawn |= {(above, below) for pair in pairwise(steps) for above in pair[0] for below in pair[1]}
    assert {room for pair in drawn for room in pair} | {"web"} == rooms
    imports = grimp.build_graph("st_pipeline", cache_dir=None)
    wrong = [
        pair
        for pair in sorted(drawn)
        if not imports.direct_import_exists(
            importer=f"st_pipeline.{pair[0]}", imported=f"st_pipeline.{pair[1]}", as_packages=True
        )
    ]
    assert wrong == []


def test_every_error_is_explained_to_the_operator():
    classes = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, Exception)}
    assert classes > KINDS_OF_ERRORS
    named = set(re.findall(r"^\| `([A-Z]\w+)` \|", page("operating.md").text, re.MULTILINE))
    assert named == classes - KINDS_OF_ERRORS


def test_every_dependency_earned_its_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    packages = {re.split(r"[\[<>=]", requirement)[0] for requirement in project["dependencies"]}
    rows = re.findall(r"^\| (`[^|]+) \|", page("decisions.md").text, re.MULTILINE)
    assert packages - {name for row in rows for name in re.findall(r"`([\w-]+)`", row)} == set()


def test_every_decision_has_its_number_and_stands_under_a_subject():
    """Numbers are never given twice nor taken back, and the first ten are the ones to read first."""
    text = page("decisions.md").text
    numbers = [int(number) for number in re.findall(r"^### (\d+)\. ", text, re.MULTILINE)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    subjects = text.split("\n## ")[1:]
    assert subjects[0].startswith("The ten to read first\n")
    assert subjects[0].count("\n### ") == 10
    assert [subject for subject in subjects if "\n### " not in subject or "later" in subject.splitlines()[0]] == []


def test_nobody_counts_the_entities():
    """One entity more would make every such number wrong. Decisions tell what was measured when."""
    count = re.compile(
        r"\b(?:\d{2,}|[a-z]+teen|twenty[\w-]*|eight|twelve) (?:entities|lists)\b|\bnine" + r"teen\b", re.IGNORECASE
    )
    folders = ("st_pipeline", "st_pipeline_tests", "benchmarks")
    sources = [path for folder in folders for path in ROOT.glob(f"{folder}/**/*.py")]
    texts = {path: path.read_text() for path in [*sources, *(one.path for one in PAGES if one.name != "decisions.md")]}
    assert {path.name: found for path, text in texts.items() if (found := count.findall(text))} == {}


def test_the_glossary_has_each_word_once_in_order():
    words = re.findall(r"^\| ([A-Za-z ]+) \|", page("glossary.md").text, re.MULTILINE)[1:]
    assert words == sorted(set(words), key=str.lower)
    assert len(words) > 30


def test_every_variable_named_is_a_setting():
    known = {variable_name(name) for name in Settings.model_fields} | OTHER_VARIABLES
    named = {word for one in PAGES for word in re.findall(r"\bST_PIPELINE_[A-Z_]+", one.text)}
    assert len(named) > 10
    assert named - known == set()


def test_the_entity_in_the_guide_is_the_one_in_the_code():
    block = next(block for block in page("CONTRIBUTING.md").blocks("python") if "EntitySpec(" in block)
    assert block in (PACKAGE / "entities" / "settings.py").read_text()


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_python_examples_are_python(one: Page):
    for block in one.blocks("python"):
        if "..." not in block:  # a sketch that leaves something out
            compile(block, one.name, "exec")


@pytest.mark.parametrize("one", PAGES, ids=lambda one: one.name)
def test_the_docs_speak_of_the_project_alone(one: Page):
    """No package index's address, as in the lock; no folder of somebody's machine; no tracker's numbers."""
    foreign = (
        r"(?:pypi|pythonhosted|npmjs)\.\w+",
        r"(?<!\w)/(?:home|work|farm|tmp|Users)(?:/|\b)",
        r"\w#\d+",
        r"<lead",
    )
    assert [found for pattern in foreign for found in re.findall(pattern, one.text)] == []
