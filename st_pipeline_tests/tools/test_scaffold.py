"""A new entity or column is an errand of minutes: CONTRIBUTING.md's recipes, performed on what ServiceTitan has not."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace as changed
from pathlib import Path

import pytest

from st_pipeline.entities import LISTS
from st_pipeline.entities.spec import Column, Kind
from st_pipeline.errors import ConfigurationError
from st_pipeline.tools.entity_block import add_columns, add_entity
from st_pipeline.tools.scaffold import main, spec_of
from st_pipeline_tests.documents import PACKAGE, ROOT
from st_pipeline_tests.entities.made_records import catalogue_entry

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
# What a person writes where the command leaves `description=""`: none of these paths has a meaning yet.
MEANINGS = {
    "kind": "shape of the thing",
    "price": "what one costs, in the account's currency",
    "end": "when it broke",
    "soldOn": "when the customer bought it",
    "notes": "what people wrote of it, HTML",
    "parts": "list of {sku, quantity}: what it is made of",
    "shade": "is it meant for day or night",
}
TESTS_OF_EVERY_ENTITY = (
    "entities/test_meanings.py",
    "entities/test_every_entity.py",
    "entities/test_specs.py",
    "postgres/test_migrations.py",
    "validation/test_chunk.py",
    "test_definitions_load.py",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project whose API catalogue has one entity more, and one field more of call reasons."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target)  # its bytecode, too: what did not change is not compiled again
        else:
            shutil.copy(source, target)
    catalogue = tmp_path / "st_pipeline" / "simulator" / "api_catalogue.json"
    known = json.loads(catalogue.read_text())
    known["call_reasons"]["fields"]["shade?"] = "enum:Light|Dark"
    catalogue.write_text(json.dumps({**known, "gadgets": GADGETS}))
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


def write_meanings(module: Path) -> list[str]:
    """What a person does next: say what each column means. Returns their paths."""
    blank = re.compile(r'(Column\(\s*"(\w+)",[^()]*?description=)"(?:HTML)?"')
    text = module.read_text()
    module.write_text(blank.sub(lambda found: f'{found[1]}"{MEANINGS[found[2]]}"', text))
    return [found[2] for found in blank.finditer(text)]


def test_a_made_up_entity_and_a_made_up_column_are_added_by_the_recipes_and_tested_like_the_others(checkout: Path):
    written = run(checkout, "st_pipeline.tools.scaffold", "gadgets", "call_reasons").split()
    entities = Path("st_pipeline", "entities")
    assert [Path(name).name for name in written[:-1]] == ["gadgetry.py", "__init__.py", "jbce.py"], "a new area, too"
    migration = (checkout / written[-1]).read_text()
    assert "CREATE TABLE st_gadgets" in migration
    assert "ALTER TABLE st_call_reasons ADD COLUMN shade text;" in migration
    assert "ALTER TABLE st_call_reasons DROP COLUMN shade;" in migration
    replace(checkout / entities / "gadgetry.py", '    description="",\n', '    description="Things that are sold.",\n')
    given = [write_meanings(checkout / entities / f"{area}.py") for area in ("gadgetry", "jbce")]
    assert {source for sources in given for source in sources} == MEANINGS.keys()

    run(checkout, "st_pipeline.tools.documentation")
    assert "Things that are sold." in (checkout / "docs" / "data-model.md").read_text()
    assert "| `tn.gdg.gadgets:r` | gadgets |" in (checkout / "docs" / "real-account.md").read_text()
    tests = [f"st_pipeline_tests/{name}" for name in TESTS_OF_EVERY_ENTITY]
    wanted = "gadgets or call_reasons or joined or left_over"
    said = run(checkout, "pytest", "-q", "-p", "no:cacheprovider", "-k", wanted, *tests)
    passed = re.search(r"(\d+) passed", said)
    assert passed, said
    assert int(passed[1]) > 10, said


@pytest.mark.parametrize("name", LISTS)
def test_the_command_would_write_what_stands_there(name: str):
    """What people changed afterwards aside: names, days, and membership types, which are read through their list."""
    made, stands = spec_of(catalogue_entry(LISTS[name])), LISTS[name]
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
    [
        (["gadgets"], "not in the API catalogue: gadgets"),
        ([], "no name was given"),
        (["jobs"], "jobs: an entity already, with every field"),
    ],
)
def test_a_wrong_name_writes_nothing(names: list[str], words: str, tmp_path: Path):
    with pytest.raises(ConfigurationError, match=words):
        main(names, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_module_or_registry_of_another_form_stays_as_it_is(tmp_path: Path):
    (tmp_path / "settings.py").write_text("# nothing here\n")
    (tmp_path / "__init__.py").write_text("# nor here\n")
    with pytest.raises(ConfigurationError, match="the entity by hand"):
        add_entity(tmp_path, LISTS["tag_types"])
    with pytest.raises(ConfigurationError, match="the columns by hand"):
        add_columns(tmp_path, LISTS["tag_types"], [Column("size", Kind.TEXT)])
    with pytest.raises(ConfigurationError, match="the area by hand"):
        add_entity(tmp_path, LISTS["jobs"])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "settings.py": "# nothing here\n",
        "__init__.py": "# nor here\n",
    }


def test_new_columns_stand_at_the_end_of_their_block_and_raise_the_version(tmp_path: Path):
    module, spec = tmp_path / "settings.py", LISTS["tag_types"]
    shutil.copy(PACKAGE / "entities" / "settings.py", module)
    before = module.read_text()
    add_columns(tmp_path, spec, [Column("size", Kind.TEXT, never_null=True), Column("maker.id", Kind.INTEGER)])
    block = re.search(r"^TAG_TYPES = .*?^\)", module.read_text(), re.DOTALL | re.MULTILINE)
    assert block is not None
    lines = block[0].splitlines()
    at = lines.index('        Column("size", Kind.TEXT, description="", never_null=True),')
    assert lines[at - 1 : at + 3 : 2] == [
        '        Column("modifiedOn", Kind.TIMESTAMP, never_null=True),',
        '        Column("maker.id", Kind.INTEGER, description=""),',
    ]
    assert lines[-2] == f"    version={spec.version + 1},"
    assert len(module.read_text().splitlines()) == len(before.splitlines()) + 3
    add_columns(tmp_path, changed(spec, version=spec.version + 1), [Column("weight", Kind.FLOAT)])
    assert module.read_text().count("version=") == 1
    assert f"version={spec.version + 2}," in module.read_text()
