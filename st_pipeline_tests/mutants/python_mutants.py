"""Faults in a module: a comparison off by its boundary, a statement left out, two arguments swapped, faults in SQL.

Here: a module's text to mutants. Not here: faults inside SQL (sql_mutants.py), which modules (targets.py).
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from st_pipeline_tests.mutants.sql_mutants import IS_SQL, sql_mutants

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
CALCULATED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
OPPOSITES = {"min": "max", "max": "min", "any": "all", "all": "any", "union": "intersection", "intersection": "union"}
# Not behaviour: types, decorators, defaults, and what is only said to people.
LEFT_OUT = {"decorator_list", "annotation", "returns", "exc", "bases"}
FIRST_PLACEHOLDER, LAST_PLACEHOLDER = 0xE000, 0xF8FF
LONGEST_SHOWN = 60
Change = tuple[ast.AST, str, int | None, ast.AST, str]


@dataclass(frozen=True, eq=False)
class Mutant:
    """One fault. `name`: the same however the lines around it move. `line`: of the original."""

    name: str
    module: str
    function: str
    path: Path
    line: int
    tree: ast.Module
    change: Change

    def text(self) -> str:
        """The module with the fault. The tree is as before afterwards: all of a module's mutants share it."""
        owner, field, index, new, _ = self.change
        old = _child(owner, field, index)
        _put(owner, field, index, new)
        try:
            return ast.unparse(ast.fix_missing_locations(self.tree))
        finally:
            _put(owner, field, index, old)


def mutants_of(module: str, path: Path, text: str) -> Iterator[Mutant]:
    """Every mutant of a module, in the order of its text."""
    tree = ast.parse(text)
    seen: Counter[str] = Counter()
    for function, line, change in _walk(tree, ()):
        name = f"{module}.{function}: {change[-1]}" if function else f"{module}: {change[-1]}"
        seen[name] += 1
        numbered = name if seen[name] == 1 else f"{name} ({seen[name]})"
        yield Mutant(numbered, module, function, path, line, tree, change)


def _walk(owner: ast.AST, function: tuple[str, ...]) -> Iterator[tuple[str, int, Change]]:
    """Function, line and change of every mutant below a node. Outside of functions: numbers with names, and SQL."""
    for field, value in ast.iter_fields(owner):
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or field in LEFT_OUT or _is_no_behaviour(child):
                continue
            inside = function
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = (*function, child.name)
            elif function or isinstance(owner, ast.Assign):
                for what, new in _faults(child, in_function=bool(function)):
                    yield ".".join(function), getattr(child, "lineno", 0), (owner, field, index, new, what)
            if isinstance(child, ast.JoinedStr) or (not function and not _may_hold_code(child)):
                continue
            yield from _walk(child, inside)


def _may_hold_code(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign)


def _is_no_behaviour(node: ast.AST) -> bool:
    """A docstring, a line of the log, a function's parameters with their defaults, or `strict=`, which only asserts."""
    if not isinstance(node, ast.Expr):
        return isinstance(node, ast.arguments) or (isinstance(node, ast.keyword) and node.arg == "strict")
    if isinstance(node.value, ast.Constant):
        return True
    return isinstance(node.value, ast.Call) and ast.unparse(node.value.func).split(".")[0] in ("log", "logger")


def _faults(node: ast.AST, *, in_function: bool) -> Iterator[tuple[str, ast.AST]]:
    """What may go wrong at this node, in words, and the node with it."""
    if isinstance(node, ast.Constant):
        yield from _of_constant(node)
    elif isinstance(node, ast.JoinedStr):
        yield from _of_sql(node)
    if not in_function:
        return
    if isinstance(node, ast.expr):
        yield from _of_expression(node)
    elif isinstance(node, ast.stmt):
        yield from _of_statement(node)


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node.value, bool):
        yield _shown(node, ast.Constant(not node.value))
    elif isinstance(node.value, int | float):
        yield _shown(node, ast.Constant(node.value + 1))
        yield _shown(node, ast.Constant(node.value - 1))
    elif isinstance(node.value, str):
        yield from _of_sql(ast.JoinedStr([node]))


def _of_expression(node: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Compare(left, [operator], right):
            yield _shown(node, ast.Compare(left, [COMPARED[type(operator)]()], right))
        case ast.BoolOp(operator, values):
            yield _shown(node, ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values))
            if len(values) > 1:
                for index, value in enumerate(values):
                    left = values[:index] + values[index + 1 :]
                    only = left[0] if len(left) == 1 else ast.BoolOp(operator, left)
                    yield f"dropped from {operator.__class__.__name__.lower()}: {_text(value)}", only
        case ast.UnaryOp(ast.Not(), operand):
            yield _shown(node, operand)
        case ast.BinOp(left, operator, right) if type(operator) in CALCULATED and not _is_text(left, right):
            yield _shown(node, ast.BinOp(left, CALCULATED[type(operator)](), right))
        case ast.IfExp(test, body, orelse):
            yield _shown(node, ast.IfExp(test, orelse, body))
        case ast.Call(ast.Name(name), args, keywords) if name in OPPOSITES:
            yield _shown(node, ast.Call(ast.Name(OPPOSITES[name]), args, keywords))
        case ast.Call(function, [first, second, *rest], keywords) if _may_swap(function, first, second):
            yield _shown(node, ast.Call(function, [second, first, *rest], keywords))


def _of_statement(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    match node:
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Continue() | ast.AugAssign() | ast.Return(None):
            yield f"left out: {_text(node)}", ast.Pass()
        case ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield f"left out: {_text(node)}", ast.Pass()
        case ast.If(test, body, orelse) if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
            yield f"if {_text(test)} becomes if not", ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)


def _of_sql(node: ast.JoinedStr) -> Iterator[tuple[str, ast.AST]]:
    """The same string with a fault in its SQL; what the program puts into it stays."""
    values = [part for part in node.values if not isinstance(part, ast.Constant)]
    placeholders = iter(range(FIRST_PLACEHOLDER, LAST_PLACEHOLDER))
    text = "".join(part.value if isinstance(part, ast.Constant) else chr(next(placeholders)) for part in node.values)
    if not IS_SQL.search(text):
        return
    for what, changed in sql_mutants(text):
        parts = re.split(f"([{chr(FIRST_PLACEHOLDER)}-{chr(LAST_PLACEHOLDER)}])", changed)
        new: list[ast.expr] = [
            ast.Constant(part) if index % 2 == 0 else values[ord(part) - FIRST_PLACEHOLDER]
            for index, part in enumerate(parts)
        ]
        whole = new[0] if len(new) == 1 else ast.JoinedStr([part for part in new if _text(part) != "''"])
        words = re.sub(
            f"[{chr(FIRST_PLACEHOLDER)}-{chr(LAST_PLACEHOLDER)}]",
            lambda found: "{" + ast.unparse(values[ord(found[0]) - FIRST_PLACEHOLDER].value) + "}",  # type: ignore[attr-defined]
            what,
        )
        yield f"SQL: {_short(words)}", whole


def _may_swap(function: ast.expr, first: ast.expr, second: ast.expr) -> bool:
    """Two values of a kind: what stands for the way to a database or a source fails at once in any other place."""
    plain = (ast.Name, ast.Attribute, ast.Subscript)
    if not (isinstance(first, plain) and isinstance(second, plain)):
        return False
    texts = ast.unparse(first), ast.unparse(second)
    if texts[0] == texts[1] or ast.unparse(function) in ("isinstance", "getattr"):
        return False
    return not any(text.split(".")[-1] in ("connection", "client", "engine", "work", "context") for text in texts)


def _is_text(*nodes: ast.expr) -> bool:
    return any(
        isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str)) for n in nodes
    )


def _shown(old: ast.AST, new: ast.AST) -> tuple[str, ast.AST]:
    return f"{_text(old)} becomes {_text(new)}", new


def _text(node: ast.AST) -> str:
    return _short(ast.unparse(ast.fix_missing_locations(node)))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]}…"


def _child(owner: ast.AST, field: str, index: int | None) -> ast.AST:
    value = getattr(owner, field)
    child: ast.AST = value if index is None else value[index]
    return child


def _put(owner: ast.AST, field: str, index: int | None, new: ast.AST) -> None:
    if index is None:
        setattr(owner, field, new)
    else:
        getattr(owner, field)[index] = new
