"""The `st-pipeline` command.

Here: the tree of commands, each loaded when it is called, and turning errors into exit codes. Not here: what a command
does. Exit codes: 0 all well, 1 something failed, 2 wrong use or set-up.
"""

import importlib
import signal
import sys
from typing import Any

import click

from st_pipeline.errors import ConfigurationError, PipelineError

# Command to (module, attribute). A module is imported when its command is called, so that `--help` and quick commands
# do not wait for pandas (0.9 s) or Dagster (0.8 s).
COMMANDS = {
    "demo": ("demo.command", "demo"),
    "dev": ("demo.dev", "dev"),
    "up": ("server.commands", "up"),
    "webserver": ("server.commands", "webserver"),
    "down": ("server.commands", "down"),
    "migrate": ("server.commands", "migrate"),
    "doctor": ("server.doctor", "doctor"),
    "psql": ("server.psql", "psql"),
    "companies": ("tenants.companies", "companies"),
    "credentials": ("credentials.commands", "credentials"),
    "onboard": ("tenants.onboard", "onboard"),
    "sync": ("sync.command", "sync"),
    "sync-status": ("status.command", "sync_status"),
    "plan": ("status.plan", "plan"),
    "reconcile": ("reconciliation.command", "reconcile"),
    "retry-failed": ("sync.retry", "retry_failed"),
    "logs": ("status.logs", "logs"),
    "checks": ("checks.commands", "checks"),
    "rejects": ("records.rejects", "rejects"),
    "tenants": ("tenants.compare", "tenants"),
    "switch": ("tenants.switch", "switch"),
    "explain": ("records.explain", "explain"),
    "alerts": ("alerts.commands", "alerts"),
    "health": ("alerts.health", "health"),
    "keys": ("credentials.keys", "keys"),
    "audit": ("tenants.audit", "audit"),
    "retention": ("server.retention", "retention"),
    "simulator": ("demo.simulator", "simulator"),
    "completion": ("completion_command", "completion"),
}
# Further names of commands.
ALIASES = {"process-scheduled-syncs": "sync", "retry-failed-syncs": "retry-failed"}
COMPLETION_VARIABLE = "_ST_PIPELINE_COMPLETE"  # set by the shell's script; click then completes instead of running


class LazyGroup(click.Group):
    """A group whose commands are imported when they are looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click passes it
        """The names, in the order in which a new user needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name]
        command: click.Command = getattr(importlib.import_module(f"st_pipeline.cli.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, which would suggest a name only from commands that are loaded."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=[*COMMANDS, *ALIASES], ctx=ctx) from None


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="st-pipeline")
def cli() -> None:
    """Keep the ServiceTitan data of many companies in Postgres."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; never returns. Our own errors are one line on standard error, without a traceback."""
    # A shell starts background jobs with SIGINT ignored, and Dagster handles SIGTERM as it does SIGINT: without this,
    # neither would end what is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(arguments))


def _configure_logs() -> None:
    """Log as the settings say. Wrong settings are reported by the command itself."""
    from st_pipeline.logs import configure_logs
    from st_pipeline.settings import Settings, load_settings

    try:
        configure_logs(load_settings())
    except ConfigurationError:
        configure_logs(Settings.model_construct())


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        _configure_logs()
        result: Any = cli.main(arguments, prog_name="st-pipeline", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        click.echo("stopped", err=True)
        return 1
    except Exception as error:
        told = error if isinstance(error, PipelineError) else _of_the_database(error)
        if told is None:
            raise
        click.echo(f"Error: {told}", err=True)
        return 2 if isinstance(told, ConfigurationError) else 1
    return result if isinstance(result, int) else 0


def _of_the_database(error: Exception) -> PipelineError | None:
    """A database error that was not turned into one of ours, as ours: its traceback is long and may contain values."""
    if "sqlalchemy" not in sys.modules:  # then no database was asked
        return None
    from st_pipeline.postgres.database import as_pipeline_error

    return as_pipeline_error("use the database", error)
