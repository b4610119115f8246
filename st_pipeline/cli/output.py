"""How a command shows what it found: a table for people, JSON for machines.

Here: the two forms. Not here: what is shown. Text is shown as it is: rich's markup would swallow brackets in names.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from st_pipeline.cli.terminal import terminal
from st_pipeline.plain_text import TERMINAL_CONTROLS

# Columns whose name stands here hold figures and are set to the right.
FIGURES = frozenset({"rows", "tenant id"})
# JSON itself escapes only those below the space.
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in TERMINAL_CONTROLS}


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table as wide as the terminal, 80 columns where there is none; long values fold, none is cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in FIGURES else "left")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    terminal().print(table)


def print_text(text: str) -> None:
    """A paragraph, wrapped as wide as the terminal."""
    terminal().print(Text(text))


def print_json(value: Any) -> None:
    """Indented JSON on standard output; moments as ISO 8601 with their zone."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain).translate(ESCAPES))


def shown(value: object) -> str:
    """A value in a table: nothing for None, yes and no, thousands apart, moments to the minute in UTC."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form here")
