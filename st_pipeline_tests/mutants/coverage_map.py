"""Which tests run which function of the mutated modules.

Here: making the map in one run of all tests on a copy whose functions note the test they run in, keeping it, and
asking it. Not here: the notes themselves (reached.py).
"""

import ast
import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from st_pipeline_tests.mutants import reached, recorder
from st_pipeline_tests.mutants.project_copy import IN_PARALLEL, ProjectCopy
from st_pipeline_tests.mutants.targets import target_files

LONGEST_RUN_SECONDS = 3600
TESTS = "st_pipeline_tests"


@dataclass(frozen=True)
class CoverageMap:
    """`tests`: those that pass on the unbroken copy, with their seconds. `reaching`: a function's tests.

    A function that ran while a test was set up counts for that test's whole file: others share what it made.
    """

    fingerprint: str
    tests: dict[str, float]
    failing: list[str]
    reaching: dict[str, list[str]]

    def reaching_tests(self, module: str, function: str) -> list[str]:
        """The tests that run the function, cheap files first. Outside of functions: that run any of the module's."""
        names = [f"{module}:{function}"]
        if f"{module}:{function}" not in self.reaching:
            names = [name for name in self.reaching if name.startswith(f"{module}:")]
        wanted = {test for name in names for test in self.reaching.get(name, ())}
        tests = [test for test in self.tests if test in wanted or _file(test) in wanted]
        costs: dict[str, float] = {}
        for test in tests:
            costs[_file(test)] = costs.get(_file(test), 0) + self.tests[test]
        return sorted(tests, key=lambda test: (costs[_file(test)], _file(test)))


def fingerprint(root: Path, paths: Sequence[str]) -> str:
    """Of all code and tests: with another one the map is made again."""
    digest = hashlib.sha256(" ".join(paths).encode())
    for path in sorted(root.glob("st_pipeline*/**/*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def load(kept: Path) -> CoverageMap | None:
    """The map of an earlier run."""
    return CoverageMap(**json.loads(kept.read_text(encoding="utf-8"))) if kept.exists() else None


def make(
    copy: ProjectCopy, paths: Sequence[str], kept: Path, tell: Callable[[str], None], *, in_parallel: bool
) -> CoverageMap:
    """Run all tests once, in the copy."""
    reached_file, record = copy.place / "reached.txt", copy.place / "record.txt"
    reached_file.touch(mode=0o666)
    with ExitStack() as stack:
        for module, path in target_files(copy.original):
            stack.enter_context(copy.with_text(path, noting(module, path.read_text(encoding="utf-8"))))
        copy.test(
            paths,
            limit_seconds=LONGEST_RUN_SECONDS,
            # The tests of the mutants themselves would fail for the wrong reason: the module no longer makes the same.
            options=("-p", recorder.__name__, f"--ignore={TESTS}/mutants", *(IN_PARALLEL if in_parallel else ())),
            **{reached.FILE: str(reached_file), recorder.FILE: str(record)},
        )
    ended = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()]
    passed = {test: round(seconds, 3) for test, outcome, seconds in ended if outcome == "passed"}
    failing = [test for test, outcome, _ in ended if outcome == "failed"]
    for test in failing:
        tell(f"fails without any fault, and is not asked: {test}")
    found: dict[str, set[str]] = {}
    for line in reached_file.read_text(encoding="utf-8").splitlines():
        function, _, test = line.partition("\t")
        node, _, phase = test.rpartition(" (")
        if node:
            found.setdefault(function, set()).add(node if phase == "call)" else _file(node))
    reaching = {function: sorted(tests) for function, tests in sorted(found.items())}
    made = CoverageMap(fingerprint(copy.original, paths), passed, failing, reaching)
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(vars(made)), encoding="utf-8")
    return made


def noting(module: str, text: str) -> str:
    """The module, with each function noting that it was reached."""
    tree = ast.parse(text)
    _note(tree, module, ())
    call = ast.parse(f"from {reached.__name__} import reached as _reached").body
    after_docstring = 1 if ast.get_docstring(tree) is not None else 0
    tree.body[after_docstring:after_docstring] = call
    return ast.unparse(ast.fix_missing_locations(tree))


def _note(owner: ast.AST, module: str, where: tuple[str, ...]) -> None:
    for child in ast.iter_child_nodes(owner):
        inside = where
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inside = (*where, child.name)
        _note(child, module, inside)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            place = 1 if ast.get_docstring(child) is not None else 0
            name = f"{module}:{'.'.join(inside)}"
            child.body[place:place] = ast.parse(f"_reached({name!r})").body


def _file(test: str) -> str:
    return test.partition("::")[0]
