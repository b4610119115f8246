"""Which test a function runs in, written down by the function itself.

Here: what `coverage_map.py` puts at the beginning of each function of a copy. It works in every process and thread that
a test starts: pytest names the running test in the environment. Not here: reading what was written.
"""

import os

FILE = "MUTANTS_REACHED_FILE"
_known: set[tuple[str, str]] = set()


def reached(function: str) -> None:
    """Note that the test that runs now came here."""
    test = os.environ.get("PYTEST_CURRENT_TEST", "")
    if (function, test) in _known or FILE not in os.environ:
        return
    _known.add((function, test))
    with open(os.environ[FILE], "a", encoding="utf-8") as file:  # noqa: PTH123 - called often, and early
        file.write(f"{function}\t{test}\n")
