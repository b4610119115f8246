"""The `simulator` command group.

Here: options and output. Not here: serving, and the client of the control API. Heavy imports are inside the commands,
so that `--help` is quick.
"""

import json
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from st_pipeline.simulator.control import SimulatorControl
    from st_pipeline.simulator.tenant import TenantSpec

DEFAULT_PORT, DEFAULT_INTEGRATION_PORT = 8710, 8711
_ENVIRONMENT = click.Choice(["production", "integration"])


class _Stop(click.ClickException):
    """One clear line, exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the line."""
        click.echo(f"error: {self.format_message()}", file=file or sys.stderr)


def _stop(message: str) -> NoReturn:
    raise _Stop(message)


@click.group()
def simulator() -> None:
    """A ServiceTitan API to develop, demonstrate and test against."""


@simulator.command()
@click.option(
    "--port", default=DEFAULT_PORT, show_default=True, help="Port of the production environment; 0 takes a free one."
)
@click.option(
    "--integration-port",
    default=DEFAULT_INTEGRATION_PORT,
    show_default=True,
    help="Port of the integration environment.",
)
@click.option("--companies", default=None, help="`demo`, or a JSON file with a list of tenants. Default: none.")
@click.option("--live", is_flag=True, help="Let records of every tenant change by themselves.")
@click.option("--live-seconds", default=5.0, show_default=True, help="Seconds between changes, with --live.")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="Continue from this file, and write it when stopped. Only use a file of your own.",
)
def serve(
    port: int, integration_port: int, companies: str | None, live: bool, live_seconds: float, state: Path | None
) -> None:
    """Serve until stopped. Loopback only."""
    from st_pipeline.simulator import saved, server
    from st_pipeline.simulator.tenant import World, build_tenant

    specs = _read_companies(companies) if companies else []
    bound = []
    for wanted in (port, integration_port):
        try:
            bound.append(server.bind(wanted))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            _stop(f"cannot listen on port {wanted}: {reason}. Choose another with --port or --integration-port.")
    held = saved.take(state) if state else None
    world = held or World()
    for spec in specs if held is None else []:
        world.add(build_tenant(spec, world.settings, world.clock.peek()))
    production, integration = (f"http://{server.HOST}:{one.getsockname()[1]}" for one in bound)
    line = f"ready production={production} integration={integration}" + (" continued=yes" if held else "")
    server.serve(world, bound[0], bound[1], live_seconds=live_seconds if live else None, ready=lambda: click.echo(line))
    if state:
        saved.save(world, state)


def _read_companies(source: str) -> "list[TenantSpec]":
    import msgspec

    from st_pipeline.simulator.demo import demo_companies
    from st_pipeline.simulator.tenant import TenantSpec

    if source == "demo":
        return demo_companies()
    try:
        return msgspec.json.decode(Path(source).read_bytes(), type=list[TenantSpec])
    except OSError as error:
        _stop(f"cannot read {source}: {error.strerror}. Name a JSON file, or `demo`.")
    except msgspec.DecodeError as error:
        _stop(f"{source} is not a list of tenants: {error}. See docs/simulator.md.")


_url = click.option(
    "--url",
    default=f"http://127.0.0.1:{DEFAULT_PORT}",
    show_default=True,
    envvar="ST_PIPELINE_SIMULATOR_URL",
    help="Address of a running simulator.",
)
_tenant_id = click.argument("tenant_id", type=int)
_environment = click.option("--environment", type=_ENVIRONMENT, default="production", show_default=True)


def _control(url: str) -> "SimulatorControl":
    from st_pipeline.simulator.control import SimulatorControl

    return SimulatorControl(url)


def _print(what: Any) -> None:
    click.echo(json.dumps(what, indent=2, ensure_ascii=False))


def _call(url: str, method: str, *arguments: Any, **options: Any) -> Any:
    from st_pipeline.simulator.control import SimulatorError

    with _control(url) as control:
        try:
            return getattr(control, method)(*arguments, **options)
        except SimulatorError as error:
            _stop(str(error))


@simulator.command()
@_url
@click.option("--json", "as_json", is_flag=True, help="Print everything, including the made-up keys.")
def tenants(url: str, as_json: bool) -> None:
    """List the tenants and their made-up keys."""
    found = _call(url, "tenants")
    if as_json:
        _print(found)
        return
    for one in found:
        records = ", ".join(f"{count} {entity}" for entity, count in one["records"].items())
        click.echo(f"{one['environment']:<12} {one['tenant_id']:<10} {one['name'] or '-'}: {records or 'empty'}")


@simulator.command()
@_url
@_tenant_id
@_environment
@click.option("--created", default=0, help="New customers, each with all that belongs to a customer.")
@click.option("--changed", default=0)
@click.option("--merged", default=0)
@click.option("--deactivated", default=0)
@click.option("--deleted", default=0)
@click.option("--reactivated", default=0)
@click.option("--undeleted", default=0)
def advance(url: str, tenant_id: int, environment: str, **counts: int) -> None:
    """Make records of a tenant change over time; print the ids of what changed."""
    _print(_call(url, "advance", tenant_id, environment, **counts))


@simulator.command()
@_url
@_tenant_id
@_environment
def truth(url: str, tenant_id: int, environment: str) -> None:
    """Print what a tenant contains: counts, sums, checksums."""
    _print(_call(url, "truth", tenant_id, environment))


@simulator.command("revoke-tokens")
@_url
@_tenant_id
@_environment
def revoke_tokens(url: str, tenant_id: int, environment: str) -> None:
    """Revoke all tokens of a tenant."""
    click.echo(f"revoked {_call(url, 'revoke_tokens', tenant_id, environment)} tokens")


@simulator.group()
def faults() -> None:
    """Break things on purpose."""


@faults.command("set")
@_url
@_tenant_id
@_environment
@click.argument("rules")
def set_faults(url: str, tenant_id: int, environment: str, rules: str) -> None:
    """Set a tenant's faults to RULES, a JSON list such as '[{"kind": "status", "status": 503, "times": 2}]'."""
    try:
        wanted = json.loads(rules)
    except ValueError as error:
        _stop(f"RULES is not valid JSON: {error}")
    _print(_call(url, "set_faults", tenant_id, environment, rules=wanted))


@faults.command("clear")
@_url
@_tenant_id
@_environment
def clear_faults(url: str, tenant_id: int, environment: str) -> None:
    """Remove all faults of a tenant."""
    _call(url, "set_faults", tenant_id, environment, rules=[])
    click.echo("no faults")
