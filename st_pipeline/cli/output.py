"""How a command prints its results: tables and text for people, JSON for machines.

Here: the forms. Not here: what is printed. Text is printed as it is: rich's markup would swallow brackets in names.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from st_pipeline.cli.json_option import LINES
from st_pipeline.cli.terminal import terminal
from st_pipeline.plain_text import TERMINAL_CONTROLS

# Columns of figures, which are aligned to the right.
FIGURES = frozenset({"rows", "tenant id", "here", "there", "missing", "gone", "differ"})
# JSON itself escapes only those below the space.
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in TERMINAL_CONTROLS}


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table as wide as the terminal, or 80 columns without one; long values wrap, none is cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in FIGURES else "left")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    terminal().print(table)


def print_text(text: str) -> None:
    """Print a paragraph, wrapped to the width of the terminal."""
    terminal().print(Text(text))


def print_json(value: Any) -> None:
    """Print JSON on standard output, indented or, with --json-lines, each object on one line.

    Times are written as ISO 8601 with their zone.
    """
    context = click.get_current_context(silent=True)
    if context is None or not context.meta.get(LINES):
        click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain).translate(ESCAPES))
        return
    for one in value if isinstance(value, list) else [value]:
        click.echo(json.dumps(one, ensure_ascii=False, default=_plain).translate(ESCAPES))


def shown(value: object) -> str:
    """A value in a table: nothing for None, yes or no, 1,234, times to the minute in UTC."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return f"{value:,}" if isinstance(value, int) else str(value)


def number_of(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: 1 record, 1,234 records."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def _plain(value: object) -> str:
    if isinstance(value, datetime | time):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form here")
