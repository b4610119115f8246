"""The benchmarks are programs that few people run: each must still find what it measures."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
LONGEST_SECONDS = 180


@pytest.mark.lab  # each makes a server and a simulator of its own
@pytest.mark.parametrize(
    ("program", "options"),
    [
        ("trace_chunk.py", []),  # fails also when a chunk's transaction asks or decodes
        ("all_entities.py", ["--records", "1000"]),  # fails also when the tables differ from the source
        (
            "sync.py",
            ["--invoices", "1000", "--rounds", "1", "--no-bars", "--no-whole"],
        ),  # the same rows as the baseline
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_benchmark_runs_to_its_end(program: str, options: list[str]):
    ended = subprocess.run(
        [sys.executable, FOLDER / program, *options],
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
