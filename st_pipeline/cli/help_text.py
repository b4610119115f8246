"""The form of help texts: examples below a command's options, and commands in the order in which they are needed.

Here: the forms. Not here: any command's text.
"""

import click


def examples(*lines: str) -> str:
    """For `epilog=`: the lines as they are, not wrapped."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


class InOrder(click.Group):
    """A group whose help lists its commands as they were added, not alphabetically."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        """The names."""
        return list(self.commands)
