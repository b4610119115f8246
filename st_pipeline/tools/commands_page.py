"""docs/commands.md: every command with its options, made from the commands themselves.

Here: the page's text. Not here: writing it (documentation.py), the words of a command (its own module in cli/).
"""

import inspect
import textwrap
from collections.abc import Iterator

import click

from st_pipeline.cli import cli

INTRODUCTION = """\
# Commands

Made from the commands by `python -m st_pipeline.tools.documentation`; do not edit it here. `--help` behind a command
shows the same in a terminal.

Exit codes, for cron and scripts: **0** all well, **1** something failed, **2** wrong use or set-up. Commands that
report take `--json`.
"""


def commands_page() -> str:
    """The page."""
    return INTRODUCTION + "".join(_sections(cli, click.Context(cli, info_name="st-pipeline")))


def _sections(group: click.Group, above: click.Context) -> Iterator[str]:
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command is None or command.hidden:
            continue
        context = click.Context(command, info_name=name, parent=above)
        yield _section(command, context)
        if isinstance(command, click.Group):
            yield from _sections(command, context)


def _section(command: click.Command, context: click.Context) -> str:
    depth = "##" if context.parent is None or context.parent.parent is None else "###"
    parts = [f"\n{depth} {context.command_path}\n\n{_plain(command.help or '')}\n"]
    if not isinstance(command, click.Group):
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        parts.append(f"\n```text\n{usage}\n```\n")
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    rows = [_row(option, context) for option in options]
    if rows:
        parts.append("\n| Option | Meaning |\n|---|---|\n" + "".join(rows))
    if command.epilog:
        _, _, lines = command.epilog.partition("Examples:\n")
        parts.append(f"\n```text\n{textwrap.dedent(lines)}\n```\n")
    return "".join(parts)


def _plain(text: str) -> str:
    """A command's help: paragraphs as they are, its unwrapped blocks (examples) as code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        is_block = paragraph.startswith("\b\n")
        paragraphs.append(f"```sh\n{paragraph[2:]}\n```" if is_block else paragraph)
    return "\n\n".join(paragraphs)


def _row(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    names, meaning = record if record is not None else (", ".join(option.opts), "")
    return "| `{}` | {} |\n".format(names.replace("|", "\\|"), meaning.replace("|", "\\|").replace("\n", " "))
