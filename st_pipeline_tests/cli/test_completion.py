"""Shells complete commands, options, tenants and entities; other names of commands; what a quick command loads."""

import os
import subprocess
import sys

import pytest
from click.shell_completion import BashComplete

from st_pipeline.cli import ALIASES, COMMANDS, cli
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import COMMAND, Installation

HEAVY = ("pandas", "pandera", "pyarrow", "dagster")


def offered(*words: str) -> list[str]:
    """What bash is offered for the last of these words."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COMP_WORDS", " ".join(("st-pipeline", *words)))
        patch.setenv("COMP_CWORD", str(len(words)))
        return _offers(BashComplete(cli, {}, "st-pipeline", "_ST_PIPELINE_COMPLETE").complete())


def offered_to_a_shell(*words: str) -> list[str]:
    """The same, asked of a process as bash does it."""
    asked = {"_ST_PIPELINE_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(("st-pipeline", *words))}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        env={**os.environ, **asked, "COMP_CWORD": str(len(words))},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return _offers(done.stdout)


def _offers(said: str) -> list[str]:
    return [line.partition(",")[2] for line in said.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(unconnected: Command, shell: str):
    said = unconnected("completion", shell)
    assert said.code == 0
    assert "_ST_PIPELINE_COMPLETE" in said.out


def test_names_of_tenants_companies_and_entities_are_offered(installation: Installation):
    installation.add("acme", "acme@integration", "birch")
    assert offered_to_a_shell("sync", "--tenant", "ac") == ["acme", "acme@integration"]
    assert offered("sync-status", "-c", "b") == ["birch"]
    assert offered("rejects", "show", "acme", "inv") == ["invoices", "invoices_stream"]
    assert offered("sync", "--mo") == ["--mode", "--modified-from", "--modified-to"]
    assert offered("retr") == ["retry-failed"]


def test_a_shell_that_asks_without_a_database_hears_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere")
    assert offered_to_a_shell("sync", "--tenant", "ac") == []


def test_the_other_names_are_the_same_commands(unconnected: Command):
    for name, real in ALIASES.items():
        assert real in COMMANDS
        options = unconnected(name, "--help").out.partition("\n")[2]
        assert options == unconnected(real, "--help").out.partition("\n")[2]


LOOKING = (
    ("sync-status",), ("logs", "1"), ("tenants", "list"), ("rejects", "list"), ("sync", "--dry-run"),
    ("retry-failed", "--dry-run"),
)  # fmt: skip


@pytest.mark.usefixtures("installation")
def test_looking_pays_for_no_dataframe_and_no_dagster():
    """Pandas alone costs 0.9 s, Dagster 1.4."""
    code = (
        f"import sys; from st_pipeline.cli import run\nfor arguments in {LOOKING}:\n    run(list(arguments))\n"
        f"    print(arguments, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    found = [line for line in done.stderr.splitlines() if line.startswith("(")]
    assert found == [f"{arguments} []" for arguments in LOOKING]
