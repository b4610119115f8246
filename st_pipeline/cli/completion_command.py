"""`st-pipeline completion`: the script with which a shell completes our commands, options, tenants and entities.

Here: the command. Not here: what is completed, which each option says itself.
"""

import click

from st_pipeline.cli.help_text import examples


@click.command(
    short_help="Print the completion script of a shell.",
    epilog=examples(
        'eval "$(st-pipeline completion bash)"                                    in ~/.bashrc',
        'eval "$(st-pipeline completion zsh)"                                     in ~/.zshrc',
        "st-pipeline completion fish > ~/.config/fish/completions/st-pipeline.fish",
    ),
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL: commands, options, and the names of tenants and entities."""
    from click.shell_completion import get_completion_class

    from st_pipeline.cli import COMPLETION_VARIABLE, cli

    source = get_completion_class(shell)
    assert source is not None  # noqa: S101 - click knows these three
    click.echo(source(cli, {}, "st-pipeline", COMPLETION_VARIABLE).source())
