"""The mutants that are made, and that a run of them tells killed from survived."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from st_pipeline_tests.mutants import coverage_map, reached
from st_pipeline_tests.mutants.__main__ import ROOT, all_mutants
from st_pipeline_tests.mutants.project_copy import Outcome, ProjectCopy
from st_pipeline_tests.mutants.python_mutants import mutants_of
from st_pipeline_tests.mutants.sql_mutants import sql_mutants
from st_pipeline_tests.mutants.targets import target_files


def bodies(function: str) -> set[str]:
    """The bodies that a function's mutants have, a statement a line."""
    source = f"def f(a, b):\n{function}\n"
    made = [ast.parse(one.text()).body[0] for one in mutants_of("m", Path("m.py"), source)]
    return {"; ".join(ast.unparse(statement) for statement in one.body) for one in made}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("    return a < b", {"return a <= b"}),
        ("    return a in b", {"return a not in b"}),
        ("    return a is None", {"return a is not None"}),
        ("    return a and b", {"return a or b", "return b", "return a"}),
        ("    return not a", {"return a"}),
        ("    return a + 7", {"return a - 7", "return a + 8", "return a + 6"}),
        ("    return min(a)", {"return max(a)"}),
        ("    return b(a, x=True)", {"return b(a, x=False)"}),
        ("    return b(a(7))", {"return b(a(8))", "return b(a(6))"}),
        ("    return b(text('DELETE FROM t WHERE a'))", {"return b(text('DELETE FROM t WHERE true '))"}),
        ("    def g(x=5):\n        pass", set()),
        ("    return b(a, f)", {"return b(f, a)"}),
        ("    return a if f else b", {"return b if f else a"}),
        ("    b(a)\n    return a", {"pass; return a"}),
        ("    a.b = f\n    return a", {"pass; return a"}),
        ("    raise a('text', 5)", {"pass"}),
        ("    if a:\n        return b", {"if not a:\n    return b"}),
        ("    return 'words with a WHEREABOUTS'", set()),
        ("    '''A docstring with 1 number.'''\n    log.info('said', 5)", set()),
    ],
)
def test_each_kind_of_fault_is_made(body: str, expected: set[str]):
    assert bodies(body) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "DELETE FROM t WHERE a = :a AND b < 2",
            {
                "DELETE FROM t WHERE true AND b < 2",
                "DELETE FROM t WHERE a = :a AND true",
                "DELETE FROM t WHERE a = :a AND b <= 2",
            },
        ),
        (
            "UPDATE t SET a = f(1, 2), b = 3 WHERE c",
            {
                "UPDATE t SET b = 3 WHERE c",
                "UPDATE t SET a = f(1, 2) WHERE c",
                "UPDATE t SET a = f(1, 2), b = 3 WHERE true",
            },
        ),
        ("SELECT a FROM t WHERE a IS NOT NULL", {"SELECT a FROM t WHERE a IS NULL", "SELECT a FROM t WHERE true"}),
        (
            "SELECT (SELECT a FROM t WHERE a = (b)) FROM s ORDER BY 2",
            {"SELECT (SELECT a FROM t WHERE true) FROM s ORDER BY 2"},
        ),
    ],
)
def test_each_kind_of_fault_in_sql_is_made(sql: str, expected: set[str]):
    assert {" ".join(text.replace(" )", ")").split()) for _, text in sql_mutants(sql)} == expected


def test_what_the_program_puts_into_sql_stays_in_its_place():
    made = bodies("    return f'SELECT x FROM {a} WHERE {b} = 1 AND {a} IS NULL'")
    assert "return f'SELECT x FROM {a} WHERE true AND {a} IS NULL'" in {" ".join(one.split()) for one in made}


def test_there_are_hundreds_of_mutants_every_one_a_program_of_its_own_with_a_name_of_its_own():
    made = all_mutants()
    assert len(made) >= 200
    assert len({one.name for one in made}) == len(made)
    for one in made[::50]:
        original = ast.unparse(ast.parse(one.path.read_text(encoding="utf-8")))
        assert ast.unparse(ast.parse(one.text())) != original, one.name
        compile(one.text(), str(one.path), "exec")


def test_a_module_that_notes_who_reached_its_functions_is_still_a_program():
    for module, path in target_files(ROOT):
        compile(coverage_map.noting(module, path.read_text(encoding="utf-8")), str(path), "exec")


@pytest.fixture
def small(tmp_path: Path) -> ProjectCopy:
    """A project of one module and one test, and its copy."""
    for root in (tmp_path / "original", tmp_path / "copy" / "project"):
        root.mkdir(parents=True)
        (root / "older.py").write_text("def older(a, b):\n    return a > b\n")
        (root / "test_older.py").write_text(
            "from older import older\n\ndef test_it():\n    while older(1, 1):\n        pass\n    assert older(2, 1)\n"
        )
    (tmp_path / "copy" / "tmp").mkdir()
    return ProjectCopy(tmp_path / "original", tmp_path / "copy")


def test_a_mutant_is_killed_by_a_test_that_fails_or_hangs_and_the_original_is_back_afterwards(small: ProjectCopy):
    path = small.original / "older.py"
    asked = {"tests": ["test_older.py"], "limit_seconds": 60.0, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    with small.with_text(path, "def older(a, b):\n    return a < b\n"):
        outcome, said = small.test(**asked)  # type: ignore[arg-type]
        assert (outcome, said.partition(" - ")[0]) == (Outcome.FAILED, "FAILED test_older.py::test_it")
    with small.with_text(path, "def older(a, b):\n    return a >= b\n"):
        assert small.test(**asked | {"limit_seconds": 3.0})[0] is Outcome.HUNG  # type: ignore[arg-type]
    assert small.test(**asked)[0] is Outcome.PASSED  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="could not run the tests"):
        small.test(**asked | {"tests": ["test_of_nothing.py"]})  # type: ignore[arg-type]


def test_functions_note_the_test_that_reaches_them_also_in_another_process(tmp_path: Path):
    notes = tmp_path / "notes"
    (tmp_path / "older.py").write_text(
        coverage_map.noting("older", "class Old:\n    def older(self):\n        '''Doc.'''\n")
    )
    environment = {
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        reached.FILE: str(notes),
        "PYTEST_CURRENT_TEST": "a.py::b (call)",
    }
    program = "import older; older.Old().older(); older.Old().older()"
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert notes.read_text() == "older:Old.older\ta.py::b (call)\n"
