"""Where every command writes what is for people: nothing that came from outside steers the terminal.

Here: a console and a line of text. Not here: tables and JSON (tables.py).
"""

from collections.abc import Iterable

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from st_pipeline.plain_text import plain


class Terminal(Console):
    """A console whose own styles and movements are the only ones."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of what is shown, each without characters that a terminal obeys."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


def terminal(*, stderr: bool = False) -> Terminal:
    """As wide as the terminal, 80 columns where there is none; numbers and names get no colours of their own."""
    return Terminal(highlight=False, stderr=stderr)


def say(line: str, *, err: bool = False) -> None:
    """A line as it is, neither wrapped nor styled."""
    click.echo(plain(line), err=err)
