"""Whoever changes a module finds its tests: beside it in the mirror folder, or where mirror.py says."""

from pathlib import Path

from st_pipeline_tests.mirror import PACKAGE, ROOMS, TESTED_BY, TESTS, WHOLE, WITHOUT_COUNTERPART, module_of, own_tests

ROOT = Path(__file__).parents[1]


def test_each_module_of_the_core_has_tests_of_its_own_or_names_those_that_test_it():
    modules = {
        f"{room}/{path.stem}": path
        for room in ROOMS
        for path in (ROOT / PACKAGE / room).glob("*.py")
        if path.stem != "__init__"
    }
    assert len(modules) > 90
    without = {name for name, path in modules.items() if not own_tests(ROOT, path)}
    assert without == TESTED_BY.keys()
    assert {test for test in TESTED_BY.values() if not (ROOT / TESTS / f"{test}.py").exists()} == set()


def test_each_file_of_tests_names_a_module_or_is_on_the_list_of_those_that_test_a_whole():
    files = sorted((ROOT / TESTS).rglob("test_*.py"))
    assert len(files) > 150
    places = {path: str(path.parent.relative_to(ROOT / TESTS)) for path in files}
    whole = {path for path in files if module_of(ROOT, path) is None and places[path] not in WITHOUT_COUNTERPART}
    assert whole == {ROOT / TESTS / folder / f"test_{name}.py" for folder, names in WHOLE.items() for name in names}
