"""Who may import whom: the layers of pyproject.toml hold, and a breach of them is seen."""

import ast
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import st_pipeline

ROOT = Path(st_pipeline.__file__).parent
PYPROJECT = ROOT.parent / "pyproject.toml"
# One import up for each boundary that matters: where it is planted, and which module it names.
VIOLATIONS = [
    ("sync/entity.py", "st_pipeline.defs.assets"),
    ("validation/chunk.py", "st_pipeline.postgres.chunks"),
    ("servicetitan/pages.py", "st_pipeline.validation.chunk"),
    ("entities/crm.py", "st_pipeline.settings"),
    ("simulator/feeds.py", "st_pipeline.servicetitan.pages"),
    ("runs/backend.py", "st_pipeline.operations.explain"),
    ("operations/explain.py", "st_pipeline.cli.output"),
]


def lint(folder: Path) -> str:
    """What import-linter says of the package in this folder."""
    linted = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return linted.stdout + linted.stderr


def test_imports_run_down():
    report = lint(ROOT.parent)
    assert "Contracts: 1 kept, 0 broken." in report, report


def test_the_contract_fails_on_each_import_up(tmp_path: Path):
    """A contract that names no room any more would be kept for ever."""
    shutil.copytree(ROOT, tmp_path / "st_pipeline", ignore=shutil.ignore_patterns("__pycache__", "sql"))
    shutil.copy(PYPROJECT, tmp_path)
    for module, imported_module in VIOLATIONS:
        planted = tmp_path / "st_pipeline" / module
        planted.write_text(f"{planted.read_text()}\n\nimport {imported_module}\n")
    report = lint(tmp_path)
    for module, imported_module in VIOLATIONS:
        importer = f"st_pipeline.{module.removesuffix('.py').replace('/', '.')}"
        assert f"{importer} -> {imported_module}" in report, report


def modules() -> list[Path]:
    """Every module of ours, relative to the package."""
    return sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


@cache
def imports(module: Path) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The import statements of a module, also inside its functions."""
    nodes = ast.walk(ast.parse((ROOT / module).read_text()))
    return tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))


def imported(module: Path) -> set[str]:
    """The top-level packages that they name."""
    found = set()
    for node in imports(module):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif node.module is not None and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", ["dagster", "dagster_postgres", "dagster_graphql", "dagster_webserver"])
def test_only_the_dagster_layer_imports_dagster(package: str):
    """Every module, also one that no contract names yet. The engine runs, and is tested, without Dagster."""
    assert len(modules()) > 100
    others = {str(module) for module in modules() if package in imported(module)}
    assert {name for name in others if not name.startswith(("defs/", "web/")) and name != "definitions.py"} == set()


def test_no_module_imports_relatively():
    relative = [
        str(module)
        for module in modules()
        for node in imports(module)
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert relative == []
