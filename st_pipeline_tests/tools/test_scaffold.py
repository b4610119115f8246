"""A new entity is an errand of minutes: the recipe of CONTRIBUTING.md, performed on one that ServiceTitan has not."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from st_pipeline.entities import LISTS
from st_pipeline.entities.spec import Kind
from st_pipeline.errors import ConfigurationError
from st_pipeline.tools.scaffold import add_to_module, main, spec_of
from st_pipeline_tests.documents import ROOT
from st_pipeline_tests.entities.made_records import facts_of

# Two oddities among it: a column whose name SQL reserves, and one that only the feed shows.
GADGETS = {
    "list_path": "/gadgetry/v2/tenant/{tenant}/gadgets",
    "export_path": "/gadgetry/v2/tenant/{tenant}/export/gadgets",
    "scope": "tn.gdg.gadgets:r",
    "active_filter": None,
    "active_filter_default": None,
    "sort_fields": ["Id", "ModifiedOn"],
    "list_params": {
        "ids": ["ids"],
        "page": ["int32"],
        "pageSize": ["int32"],
        "includeTotal": ["boolean"],
        "modifiedOnOrAfter": ["date-time"],
        "modifiedBefore": ["date-time"],
        "sort": ["string"],
    },
    "export_params": {"from": ["string"], "includeRecentChanges": ["boolean"]},
    "fields": {
        "id": "int64",
        "name": "string",
        "kind?": "enum:Round|Square",
        "price": "decimal",
        "end?": "date-time",
        "soldOn?": "date",
        "notes?": "string:html",
        "customer?": {"id": "int64", "name?": "string"},
        "parts": [{"sku": "string", "quantity": "int32"}],
        "createdOn": "date-time",
        "modifiedOn": "date-time",
    },
    "export_only_fields": {"active": "boolean"},
}
COPIED = ("st_pipeline", "st_pipeline_tests", "sql", "docs", "pyproject.toml", "CONTRIBUTING.md", "README.md")
AREAS = "AREAS = (settings, "
TESTS_OF_EVERY_ENTITY = (
    "entities/test_every_entity.py",
    "entities/test_specs.py",
    "postgres/test_migrations.py",
    "validation/test_chunk.py",
    "test_definitions_load.py",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project whose facts know one entity more."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    facts = tmp_path / "st_pipeline" / "simulator" / "facts.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "gadgets": GADGETS}))
    return tmp_path


def run(checkout: Path, *command: str) -> str:
    """Run a module of the copy. Its output; the test fails when it does."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def replace(file: Path, old: str, new: str) -> None:
    """What a person does with an editor."""
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_a_made_up_entity_is_added_by_the_recipe_and_tested_like_the_others(checkout: Path):
    written = run(checkout, "st_pipeline.tools.scaffold", "gadgets").split()
    module, migration = (checkout / name for name in written)
    assert module == checkout / "st_pipeline" / "entities" / "gadgetry.py"
    assert migration.name.endswith("_gadgets.py")

    replace(module, 'description=""', 'description="Things that are sold."')
    registry = checkout / "st_pipeline" / "entities" / "__init__.py"
    replace(registry, AREAS, f"{AREAS}gadgetry, ")
    replace(registry, "    equipmentsystems,\n", "    equipmentsystems,\n    gadgetry,\n")

    run(checkout, "st_pipeline.tools.documentation")
    assert "Things that are sold." in (checkout / "docs" / "data-model.md").read_text()
    tests = [f"st_pipeline_tests/{name}" for name in TESTS_OF_EVERY_ENTITY]
    said = run(checkout, "pytest", "-q", "-p", "no:cacheprovider", "-k", "gadgets or joined or left_over", *tests)
    assert "8 passed" in said, said


@pytest.mark.parametrize("name", LISTS)
def test_the_command_would_write_what_stands_there(name: str):
    """What people changed afterwards aside: names, days, and membership types, which are read through their list."""
    made, stands = spec_of(facts_of(LISTS[name])), LISTS[name]
    columns = {column.source: column for column in stands.columns}
    no_times = {"createdOn", "modifiedOn"} if name == "custom_fields_equipment" else set()
    assert {column.source for column in made.columns} == columns.keys() - no_times
    for column in made.columns:
        there = columns[column.source]
        assert column.kind is there.kind or (column.kind, there.kind) == (Kind.TIMESTAMP, Kind.DAY)
        assert (column.known_values, column.feed_only) == (there.known_values, there.feed_only)
    assert (made.list_path, made.scope, made.ids_param) == (stands.list_path, stands.scope, stands.ids_param)
    assert (made.deletion_sign, made.rules[0]) == (stands.deletion_sign, stands.rules[0])
    assert made.feed_path == stands.feed_path or name == "membership_types"
    if name != "custom_fields_equipment":
        assert made.list_params == stands.list_params


@pytest.mark.parametrize(
    ("names", "words"),
    [(["gadgets"], "no facts about gadgets"), ([], "no facts"), (["jobs"], "jobs: an entity already")],
)
def test_a_wrong_name_writes_nothing(names: list[str], words: str, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=words):
        main(names, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_module_without_a_registry_is_left_alone(tmp_path: Path):
    (tmp_path / "settings.py").write_text("# nothing here\n")
    with pytest.raises(ConfigurationError, match="by hand"):
        add_to_module(tmp_path, LISTS["tag_types"])
    assert (tmp_path / "settings.py").read_text() == "# nothing here\n"
