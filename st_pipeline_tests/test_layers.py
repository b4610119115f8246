"""Who may import whom: the contracts of import-linter hold, and each of them can fail."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import st_pipeline

ROOT = Path(st_pipeline.__file__).parent
PYPROJECT = ROOT.parent / "pyproject.toml"
CONTRACTS = [contract["name"] for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]]
# Where a line is planted, which line, and the contract it breaks.
VIOLATIONS = [
    ("sync.py", "import dagster", "Dagster stays in defs/, web/ and definitions.py"),
    ("validation/chunk.py", "import st_pipeline.postgres.chunks", "Fetch, validate and write do not know each other"),
    ("entities/crm.py", "import st_pipeline.settings", "Entities are data: they import nothing of ours"),
    (
        "simulator/feeds.py",
        "import st_pipeline.servicetitan.pages",
        "The simulator stands alone: it must not share our idea of the API",
    ),
]


def checked(folder: Path) -> dict[str, str]:
    """KEPT or BROKEN by contract, of the package in this folder."""
    linted = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    verdicts = {
        contract: line.split()[-1]
        for contract in CONTRACTS
        for line in linted.stdout.splitlines()
        if line.startswith(contract) and line.split()[-1] in ("KEPT", "BROKEN")
    }
    assert verdicts.keys() == set(CONTRACTS), linted.stdout + linted.stderr
    assert (linted.returncode == 0) == (set(verdicts.values()) == {"KEPT"})
    return verdicts


def test_every_contract_is_kept():
    assert checked(ROOT.parent) == dict.fromkeys(CONTRACTS, "KEPT")


def test_every_contract_fails_on_an_import_it_forbids(tmp_path: Path):
    """One copy with a violation of each: a contract that names no module any more would be kept for ever."""
    assert [name for *_, name in VIOLATIONS] == CONTRACTS
    shutil.copytree(ROOT, tmp_path / "st_pipeline", ignore=shutil.ignore_patterns("__pycache__", "sql"))
    shutil.copy(PYPROJECT, tmp_path)
    for module, line, _ in VIOLATIONS:
        planted = tmp_path / "st_pipeline" / module
        planted.write_text(f"{planted.read_text()}\n\n{line}\n")
    assert checked(tmp_path) == dict.fromkeys(CONTRACTS, "BROKEN")


def modules() -> list[Path]:
    """Every module of ours, relative to the package."""
    return sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))


def imported(module: Path) -> set[str]:
    """The top-level packages a module imports, also inside its functions."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
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
        for node in ast.walk(ast.parse((ROOT / module).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level > 0
    ]
    assert relative == []
