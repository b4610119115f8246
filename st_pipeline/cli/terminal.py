"""Output for people, without control characters: no text from outside may steer the terminal.

Here: a console and a line of text. Not here: tables and JSON.
"""

from collections.abc import Iterable

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from st_pipeline.plain_text import plain


class Terminal(Console):
    """A console that removes control characters from text, and keeps its own styles."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The parts of the output, each without control characters."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


def terminal(*, stderr: bool = False) -> Terminal:
    """A console as wide as the terminal, or 80 columns without one; it does not colour numbers and names by itself."""
    return Terminal(highlight=False, stderr=stderr)


def say(line: str, *, err: bool = False) -> None:
    """Print a line, neither wrapped nor styled."""
    click.echo(plain(line), err=err)
