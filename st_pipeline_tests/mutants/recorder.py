"""A pytest plugin: which tests ran, how each ended, and how long it took.

Here: one line a test, in the file that the environment names. Not here: what follows from it.
"""

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

FILE = "MUTANTS_RECORD_FILE"


class Recorder:
    """Adds up a test's set-up, call and tear-down."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.outcomes: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of every process of pytest-xdist, too."""
        self.seconds[report.nodeid] += report.duration
        if report.outcome != "passed" or report.when == "call":
            failed_before = self.outcomes.get(report.nodeid) == "failed"
            self.outcomes[report.nodeid] = "failed" if failed_before else report.outcome

    def pytest_sessionfinish(self) -> None:
        """Write all of it."""
        lines = [json.dumps([test, outcome, self.seconds[test]]) for test, outcome in self.outcomes.items()]
        self.path.write_text("\n".join(lines), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Only the process that hears of all tests writes."""
    if FILE in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Recorder(Path(os.environ[FILE])))
