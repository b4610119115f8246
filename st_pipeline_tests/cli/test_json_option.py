"""`--json` and `--json-lines`: one document, or a line for each of its parts."""

import json
from collections.abc import Iterator

import click
import pytest

from st_pipeline.cli import cli
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import Installation


def commands(group: click.Group, above: click.Context) -> Iterator[click.Command]:
    """Every command that does something."""
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        if name == "simulator":  # a program of its own, with a --json of another kind
            continue
        if isinstance(command, click.Group):
            yield from commands(command, click.Context(command, info_name=name, parent=above))
        else:
            yield command


def test_every_command_with_json_has_json_lines():
    options = [{name for one in command.params for name in one.opts} for command in commands(cli, click.Context(cli))]
    assert sum("--json" in names for names in options) > 20
    assert [names for names in options if ("--json" in names) != ("--json-lines" in names)] == []


@pytest.mark.parametrize("arguments", [("--json-lines",), ("--json", "--json-lines"), ("--json-lines", "--json")])
def test_each_object_of_a_list_is_a_line(installation: Installation, command: Command, arguments: tuple[str, ...]):
    installation.add("acme", "birch")
    document = command("credentials", "list", "--json").json
    lines = command("credentials", "list", *arguments).out.splitlines()
    assert [json.loads(line)["tenant"] for line in lines] == ["acme", "birch"]
    assert [json.loads(line) for line in lines] == document
