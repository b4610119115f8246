"""`st-pipeline doctor`: what first-time users get wrong, and how to fix it.

Here: one function for each check. Not here: fixing anything, and asking ServiceTitan whether it accepts a credential,
which is `credentials test`: each check contacts this machine and its Postgres only.
"""

import importlib.metadata
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError, PipelineError
from st_pipeline.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

PRIVATE_BITS = 0o077
SAME_VERSION = ("dagster", "dagster-webserver")


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result. `fix`: what to do, empty when all is well."""

    check: str
    state: Literal["ok", "warning", "wrong"]
    finding: str
    fix: str = ""


@click.command(short_help="Check what first-time users get wrong.")
@json_option()
def doctor(as_json: bool) -> int:
    """Check everything that first-time users get wrong, and say how to fix it. Exit code 1 if something is wrong."""
    from st_pipeline.cli.output import print_json
    from st_pipeline.cli.terminal import say
    from st_pipeline.plain_text import plain

    findings = list(examine())
    if as_json:
        # `mend` is the old name of `fix`, until 0.2.
        print_json([{**asdict(finding), "mend": finding.fix} for finding in findings])
    else:
        for finding in findings:
            mark = {"ok": click.style("ok     ", fg="green"), "warning": click.style("warning", fg="yellow")}
            shown = plain(f"{finding.check}: {finding.finding}")
            click.echo(f"{mark.get(finding.state, click.style('wrong  ', fg='red'))} {shown}")
            if finding.fix:
                say(f"        -> {finding.fix}")
    return 1 if any(finding.state == "wrong" for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """Every check in order; a failed one ends those that depend on it."""
    from st_pipeline.settings import load_settings

    yield from _python()
    try:
        settings = load_settings()
    except ConfigurationError as error:
        yield Finding("settings", "wrong", str(error), "fix the value; docs/settings.md lists all settings")
        return
    yield Finding("settings", "ok", "all values are valid")
    for check in (_environment_file, _keys, _addresses, _disk, _ports, _alerts):
        yield from _guarded(check, settings)
    yield from _database(settings)


def _guarded(check: Callable[[Settings], Iterator[Finding]], settings: Settings) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except PipelineError as error:
        yield Finding(check.__name__.strip("_").replace("_", " "), "wrong", str(error))


def _python() -> Iterator[Finding]:
    version = sys.version.split()[0]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("Python", "wrong", version, "use Python 3.11 to 3.13")
    else:
        yield Finding("Python", "ok", version)
    versions = {name: importlib.metadata.version(name) for name in SAME_VERSION}
    if len(set(versions.values())) > 1:
        shown = ", ".join(f"{name} {number}" for name, number in versions.items())
        yield Finding("packages", "wrong", f"{shown} do not belong together", "install from requirements.lock again")
    elif sys.prefix == sys.base_prefix:
        yield Finding("packages", "warning", "not in a virtual environment", "run `make setup` and use .venv/bin")
    else:
        yield Finding("packages", "ok", f"Dagster {versions['dagster']}")


def _environment_file(_settings: Settings) -> Iterator[Finding]:
    path = Path(".env")
    if not path.exists():
        yield Finding(
            ".env", "warning", "not in this folder", "`st-pipeline up` writes it; plain `dagster dev` needs it"
        )
    elif path.stat().st_mode & PRIVATE_BITS:
        mode = stat.filemode(path.stat().st_mode)
        yield Finding(".env", "wrong", f"other users can read it ({mode}), and it contains keys", "chmod 600 .env")
    else:
        yield Finding(".env", "ok", "present, and readable by its owner only")
    home = os.environ.get("DAGSTER_HOME", "")
    if home and not Path(home).is_absolute():
        yield Finding("DAGSTER_HOME", "wrong", f"{home} is not an absolute path", "Dagster needs an absolute path")


def _keys(settings: Settings) -> Iterator[Finding]:
    from st_pipeline.vault.encryption import Vault

    if settings.encryption_keys is None:
        yield Finding(
            "encryption keys", "wrong", "none", "`st-pipeline up` creates one; or set ST_PIPELINE_ENCRYPTION_KEYS"
        )
        return
    Vault.from_settings(settings)
    yield Finding("encryption keys", "ok", "valid")
    if settings.app_key is None:
        fix = "set ST_PIPELINE_APP_KEY (`ak1.…`, My Apps in ServiceTitan's developer portal)"
        yield Finding("app key", "warning", "none, so each credential needs its own", fix)
    elif settings.app_key.get_secret_value() != settings.app_key.get_secret_value().strip():
        yield Finding("app key", "wrong", "begins or ends with white space", "remove it from ST_PIPELINE_APP_KEY")
    else:
        yield Finding("app key", "ok", "set")


def _addresses(settings: Settings) -> Iterator[Finding]:
    pairs = {
        "production": (settings.production_api_url, settings.production_auth_url),
        "integration": (settings.integration_api_url, settings.integration_auth_url),
    }
    for environment, (api, auth) in pairs.items():
        local = [url.startswith(("http://127.0.0.1", "http://localhost")) for url in (api, auth)]
        if local[0] != local[1]:
            fix = f"set both ST_PIPELINE_{environment.upper()}_API_URL and …_AUTH_URL, or neither"
            yield Finding(f"{environment} addresses", "wrong", f"{api} and {auth} do not belong together", fix)
        elif local[0]:
            fix = "for a real account, remove the ST_PIPELINE_…_URL and ST_PIPELINE_APP_KEY lines from .env"
            yield Finding(f"{environment} addresses", "warning", f"{api}, a simulator", fix)
        elif not (api.startswith("https://") and auth.startswith("https://")):
            yield Finding(
                f"{environment} addresses", "wrong", "not https: keys would be sent unencrypted", "use https://"
            )
        else:
            yield Finding(f"{environment} addresses", "ok", api)


def _disk(settings: Settings) -> Iterator[Finding]:
    from st_pipeline.alerts.disk import disks

    fixes = {
        "ok": "",
        "warning": "a first load needs about twice the size of the source's JSON",
        "wrong": "free space: Postgres stops when its disk is full",
    }
    for disk in disks(settings):
        state = disk.state(settings.alert_least_free_bytes)
        yield Finding("disk", state, str(disk), fixes[state])


def _alerts(settings: Settings) -> Iterator[Finding]:
    from st_pipeline.alerts.channels import check_channels

    channels = check_channels(settings)
    if settings.alert_digest_time and not any(channel.has_digest for channel in channels.values()):
        fix = "write `:digest` after the name of a channel in ST_PIPELINE_ALERT_CHANNELS"
        yield Finding("alerts", "warning", "there is a time for the digest, and no channel that gets it", fix)
    elif channels:
        yield Finding("alerts", "ok", f"channels: {', '.join(channels)}; `st-pipeline alerts test` tries them")
    else:
        fix = "set ST_PIPELINE_ALERT_CHANNELS (docs/trust.md)"
        yield Finding("alerts", "warning", "no channel: nobody is told of problems", fix)


def _ports(settings: Settings) -> Iterator[Finding]:
    from st_pipeline.cli.server.ports import is_taken
    from st_pipeline.runs.graphql import RunningDagster

    host, port = settings.dagster_host, settings.dagster_port
    if not is_taken(host, port):
        yield Finding("Dagster", "ok", f"not running; port {port} is free")
    elif RunningDagster(f"http://{host}:{port}").is_up():
        yield Finding("Dagster", "ok", f"running at http://{host}:{port}")
    else:
        yield Finding("Dagster", "wrong", f"another program uses port {port}", "set ST_PIPELINE_DAGSTER_PORT")


def _database(settings: Settings) -> Iterator[Finding]:
    from sqlalchemy import text

    from st_pipeline.cli.server.capacity import what_does_not_fit
    from st_pipeline.cli.server.setup import shown
    from st_pipeline.postgres.dagster_database import check_deployment, dagster_url
    from st_pipeline.postgres.database import main_engine, main_url, transaction
    from st_pipeline.postgres.schema_version import check_current
    from st_pipeline.tenants.expiry import expiring
    from st_pipeline.tenants.store import all_tenants

    folder = Path(os.environ.get("DAGSTER_HOME") or Path.cwd())
    try:
        with main_engine(settings) as engine:
            check_current(engine)
            check_deployment(dagster_url(settings, engine), engine)
            with transaction(engine, "read the tenants") as connection:
                version = connection.execute(text("SHOW server_version")).scalar_one()
                tenants = all_tenants(connection)
                ends_soon = expiring(connection, settings.expiry_warning_days)
                stopped = list(_stopped(connection))
                too_small = list(what_does_not_fit(settings, folder, connection))
    except PipelineError as error:
        yield Finding("Postgres", "wrong", str(error))
        return
    yield Finding("Postgres", "ok", f"{version}, {shown(main_url(settings))}, at the version that this code needs")
    yield from stopped
    for what, fix in too_small:
        yield Finding("capacity", "wrong", what, fix)
    if not tenants:
        yield Finding("tenants", "warning", "none", "`st-pipeline companies add`, then `st-pipeline credentials add`")
    if connected := sum(tenant.connection_status == "connected" for tenant in tenants):
        yield Finding("tenants", "ok", f"{connected:,} of {len(tenants):,} connected")
    for tenant in tenants:
        fix = f"st-pipeline credentials test {tenant.partition_key}"
        if tenant.connection_status == "error":
            yield Finding(f"tenant {tenant.partition_key}", "wrong", tenant.connection_message or "refused", fix)
        elif tenant.connection_status == "pending":
            yield Finding(f"tenant {tenant.partition_key}", "warning", "never tested", fix)
    for one in ends_soon:
        yield Finding(f"tenant {one.tenant}", "warning", one.message)


def _stopped(connection: "Connection") -> Iterator[Finding]:
    """What people have switched off, and APIs that are paused for all tenants."""
    from st_pipeline.postgres import api_pauses, switches

    for one in switches.load(connection).off:
        fix = f"st-pipeline switch on {one.scope} {one.name}".rstrip()
        yield Finding("switch", "warning", f"{one}, since {one.off_since:%Y-%m-%d %H:%M} UTC", fix)
    for pause in api_pauses.current(connection):
        yield Finding("polls", "warning", str(pause), "nothing to do: they begin again by themselves")
