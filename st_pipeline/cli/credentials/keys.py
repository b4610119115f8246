"""`st-pipeline keys`: the keyring that encrypts stored secrets: a new key, re-encryption, and which keys are needed.

Here: the commands. Not here: encrypting (credentials/vault.py), going through the values (credentials/rekeying.py).
"""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.settings import Settings
    from st_pipeline.tenants.rekeying import Status

VARIABLE = "ST_PIPELINE_ENCRYPTION_KEYS"


@click.group(
    cls=InOrder,
    epilog=examples(
        "st-pipeline keys new --write  # 1. a new key, in front of the others",
        "                              # 2. restart what has its keys from elsewhere",
        "st-pipeline keys rotate       # 3. everything under the new key",
        "st-pipeline keys status       # 4. says which old key may be removed",
    ),
)
def keys() -> None:
    """The keys with which stored secrets are encrypted: ST_PIPELINE_ENCRYPTION_KEYS, the first encrypts, any opens."""


@keys.command(
    "status",
    short_help="How many secrets each key encrypts, and which may go.",
    epilog=examples("st-pipeline keys status", "st-pipeline keys status --json | jq .removable"),
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def status(as_json: bool) -> int:
    """Open every stored secret, and say how many each key encrypts and which keys may be removed.

    Exit code 1 when a value does not open, or names a key that the keyring does not hold.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json
    from st_pipeline.postgres.database import transaction
    from st_pipeline.tenants.rekeying import status as read_status
    from st_pipeline.vault.encryption import Vault

    with open_database() as (settings, engine):
        vault = Vault.from_settings(settings)
        with transaction(engine, "open every stored secret") as connection:
            found = read_status(connection, vault)
    if as_json:
        print_json({**asdict(found), "removable": found.removable, "to_rotate": found.to_rotate})
    else:
        _print_status(found)
    return 1 if found.broken else 0


def _print_status(found: "Status") -> None:
    from st_pipeline.cli.output import print_table, print_text

    rows = [
        (str(key.key_id), "encrypts" if key.encrypts else "opens" if key.in_keyring else "is missing",
         f"{key.values:,}", f"{key.open:,}")
        for key in found.keys
    ]  # fmt: skip
    print_table(("key", "in the keyring", "values", "of these open"), rows)
    for line in found.broken:
        print_text(line)
    if found.to_rotate:
        print_text(f"{found.to_rotate} values are under an older key: `st-pipeline keys rotate`")
    for key_id in found.removable:
        print_text(
            f"No stored value needs key {key_id}: it may be removed from {VARIABLE}. Keep it with the backups made "
            "before the rotation: they need it"
        )
    if not found.broken and not found.to_rotate and not found.removable:
        print_text("All is under the newest key; there is none to remove")


@keys.command(
    "rotate",
    short_help="Encrypt all stored secrets with the first key.",
    epilog=examples("st-pipeline keys rotate", "st-pipeline keys rotate --json"),
)
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def rotate(as_json: bool) -> int:
    """Encrypt every stored secret anew, under the first key of the keyring.

    First put the new key in front of the others (`keys new`), everywhere. A process that shares this .env reads it
    again by itself; another one has to be restarted, and until then this is refused. Safe to stop and to repeat. Exit
    code 1 when a value does not open.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import print_json, print_text
    from st_pipeline.tenants.rekeying import rotate as encrypt_anew
    from st_pipeline.vault.encryption import Vault

    with open_database() as (settings, engine):
        done = encrypt_anew(engine, Vault.from_settings(settings))
    if as_json:
        print_json(asdict(done))
        return 1 if done.broken else 0
    print_text(
        f"{done.values} values of {done.credentials} credentials are now under key {done.key_id}"
        if done.credentials
        else f"everything that opens is under key {done.key_id} already"
    )
    if done.forgotten:
        print_text(f"{done.forgotten} tokens did not open and are forgotten: the next sync fetches new ones")
    for line in done.broken:
        print_text(line)
    print_text("`st-pipeline keys status` says which keys may be removed")
    return 1 if done.broken else 0


@keys.command(
    "new",
    epilog=examples(
        "st-pipeline keys new --write",
        "st-pipeline keys new          # prints it, for a secret store of your own",
    ),
)
@click.option("--write", is_flag=True, help="Put it in front of the keys in .env instead of showing it.")
def new(write: bool) -> None:
    """Make a new key, `id:base64`.

    Without --write it is printed, alone, on standard output: put it in front of the keys you have, with a comma. Where
    secrets are stored already and no key is set, none is made: a new one could not open them.
    """
    from st_pipeline.environment_file import write_values
    from st_pipeline.settings import load_settings
    from st_pipeline.vault.encryption import Vault, generate_key

    settings = load_settings()
    if settings.encryption_keys is None:
        _refuse_if_secrets_are_stored(settings)
    held = "" if settings.encryption_keys is None else settings.encryption_keys.get_secret_value()
    if held:
        Vault.from_settings(settings)  # a malformed keyring is to be mended first
    if write and os.environ.get(VARIABLE):
        raise ConfigurationError(
            f"{VARIABLE} is set in the environment, which wins over .env: make a key without --write, and put it in "
            "front of the others there"
        )
    key = generate_key()
    key_id = key.partition(":")[0]
    if not write:
        click.echo(key)
        click.echo(f"put it in front of the others: {VARIABLE}={key_id}:…{',the others' if held else ''}", err=True)
        return
    write_values({VARIABLE: f"{key},{held}" if held else key})
    click.echo(f"key {key_id} stands first in .env. Keep a copy of the file's keys in a safe place")
    if held:
        click.echo("next: restart what has its keys from elsewhere than this .env, then `st-pipeline keys rotate`")


def _refuse_if_secrets_are_stored(settings: "Settings") -> None:
    """Raises ConfigurationError. What a database that does not answer holds, nobody can say: its error ends this."""
    from sqlalchemy import inspect, text

    from st_pipeline.postgres.database import main_url, open_engine, transaction

    engine = open_engine(main_url(settings))
    try:
        with transaction(engine, "look for stored credentials") as connection:
            is_ours = inspect(connection).has_table("servicetitan_credentials")
            count = text("SELECT count(*) FROM servicetitan_credentials")
            stored = connection.execute(count).scalar_one() if is_ours else 0
    finally:
        engine.dispose()
    if stored:
        raise ConfigurationError(
            f"{VARIABLE} is not set, but the database holds {stored} credentials encrypted with it: put the key back. "
            "Without it they must be entered again"
        )
