"""`--json` and `--json-lines`: what a command prints for machines.

Here: the options, for every command that has them. Not here: printing (output).
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
LINES = "st_pipeline: each JSON object on one line"


def json_option(*more_names: str, note: str = "") -> Callable[[Command], Command]:
    """Both options as the parameter `as_json`. `more_names`: further names of `--json`; `note`: what else it shows."""

    def add(command: Command) -> Command:
        lines = click.option(
            "--json-lines",
            is_flag=True,
            is_eager=True,  # read before --json, wherever it stands
            expose_value=False,
            callback=_note_lines,
            help="The same for log files: each object on one line.",
        )
        document = click.option(
            "--json", *more_names, "as_json", is_flag=True, callback=_either, help=f"For machines{note}."
        )
        return document(lines(command))

    return add


def _note_lines(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    context.meta[LINES] = value


def _either(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
    return value or bool(context.meta.get(LINES))
