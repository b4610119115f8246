"""Faults in SQL text: a condition left out, a comparison off by its boundary, a column no longer set.

Here: text to texts. Not here: which strings of the project are SQL texts (python_mutants.py).
"""

import re
from collections.abc import Iterator

IS_SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|WHERE|JOIN)\b")
# Of these texts each turns into the other, or into what stands beside it.
SWAPPED = (
    (r"\bIS NOT DISTINCT FROM\b", "IS DISTINCT FROM"),
    (r"\bIS DISTINCT FROM\b", "IS NOT DISTINCT FROM"),
    (r"\bIS NOT NULL\b", "IS NULL"),
    (r"\bIS NULL\b", "IS NOT NULL"),
    (r"\bNOT EXISTS\b", "EXISTS"),
    (r"(?<=AND |ERE )NOT (?!EXISTS)", ""),
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )<=(?= )", "<"),
    (r"(?<= )>(?= )", ">="),
    (r"(?<= )>=(?= )", ">"),
    (r"(?<= )<>(?= )", "="),
    (r"\bSKIP LOCKED\b", ""),
    (r"\bOR\b", "AND"),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\bmin(?=\()", "max"),
    (r"\bmax(?=\()", "min"),
    (r"\bgreatest(?=\()", "least"),
    (r"\bleast(?=\()", "greatest"),
    (r"(?<=[+=-] )1\b", "2"),
    (r"(?<=[+=-] )0\b", "1"),
)
CONDITION = re.compile(r"\b(WHERE|AND|OR|ON(?= [a-z(\ue000-\uf8ff]))\s")
CONDITION_ENDS = re.compile(
    r"\b(AND|OR|WHERE|GROUP|ORDER|RETURNING|LIMIT|FOR|UNION|EXCEPT|DO|JOIN|LEFT|FULL|CROSS|SET|THEN|SELECT|ON)\b|;"
)
ASSIGNMENTS = re.compile(r"\bSET\s")
ASSIGNMENTS_END = re.compile(r"\b(WHERE|(?<!DISTINCT )FROM|RETURNING)\b|;")


def sql_mutants(text: str) -> Iterator[tuple[str, str]]:
    """Each fault as (what was done, the text with it). Values that the program puts in are private-use characters."""
    for pattern, new in SWAPPED:
        for found in re.finditer(pattern, text):
            yield f"{found[0].strip()} becomes {new or 'nothing'}", text[: found.start()] + new + text[found.end() :]
    for keyword in CONDITION.finditer(text):
        start, end = keyword.end(), _end_of_list(text, keyword.end(), CONDITION_ENDS)
        condition = text[start:end].strip()
        if condition and condition != "true" and "BETWEEN" not in condition:
            yield f"condition dropped: {_one_line(condition)}", f"{text[:start]}true {text[end:]}"
    for keyword in ASSIGNMENTS.finditer(text):
        start, end = keyword.end(), _end_of_list(text, keyword.end(), ASSIGNMENTS_END)
        assignments = list(_split(text[start:end]))
        for index, one in enumerate(assignments):
            if len(assignments) > 1 and "=" in one:
                others = ",".join(assignments[:index] + assignments[index + 1 :])
                yield f"not set: {_one_line(one)}", f"{text[:start]}{others} {text[end:]}"


def _end_of_list(text: str, start: int, ends: re.Pattern[str]) -> int:
    """Where what begins at `start` ends: at a keyword outside of brackets, or at the bracket around it."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if depth < 0 or (depth == 0 and ends.match(text, position)):
            return position
    return len(text)


def _split(text: str) -> Iterator[str]:
    """At the commas outside of brackets."""
    depth = start = 0
    for position, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _one_line(text: str) -> str:
    return " ".join(text.split())
