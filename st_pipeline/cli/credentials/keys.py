"""`st-pipeline keys`: the keyring that encrypts stored secrets: new keys, re-encryption, and which keys are needed.

Here: the commands. Not here: encrypting (vault/), re-encrypting stored values (tenants/).
"""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from st_pipeline.cli.help_text import InOrder, examples
from st_pipeline.cli.json_option import json_option
from st_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from st_pipeline.settings import Settings
    from st_pipeline.tenants.rekeying import Status

VARIABLE = "ST_PIPELINE_ENCRYPTION_KEYS"


@click.group(
    cls=InOrder,
    short_help="The keys that encrypt stored secrets.",
    epilog=examples(
        "st-pipeline keys new --write  # 1. a new key, before the others",
        "                              # 2. restart what gets its keys from elsewhere",
        "st-pipeline keys rotate       # 3. encrypt everything with the new key",
        "st-pipeline keys status       # 4. shows which old keys may be removed",
    ),
)
def keys() -> None:
    """The keys of stored secrets, ST_PIPELINE_ENCRYPTION_KEYS: the first encrypts, each of them decrypts."""


@keys.command(
    "status",
    short_help="How many secrets each key encrypts, and which keys may be removed.",
    epilog=examples("st-pipeline keys status", "st-pipeline keys status --json | jq .removable"),
)
@json_option()
def status(as_json: bool) -> int:
    """Decrypt every stored secret, and say how many each key encrypts and which keys may be removed.

    Exit code 1 if a value cannot be decrypted, or needs a key that the keyring does not contain.
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
        are = "value is" if found.to_rotate == 1 else "values are"
        print_text(f"{found.to_rotate:,} {are} encrypted with an older key: `st-pipeline keys rotate`")
    for key_id in found.removable:
        print_text(
            f"No stored value needs key {key_id}: it may be removed from {VARIABLE}. Keep it with the backups made "
            "before the rotation: they need it"
        )
    if not found.broken and not found.to_rotate and not found.removable:
        print_text("Everything is encrypted with the newest key; there is no key to remove")


@keys.command(
    "rotate",
    short_help="Encrypt all stored secrets with the first key.",
    epilog=examples("st-pipeline keys rotate", "st-pipeline keys rotate --json"),
)
@json_option()
def rotate(as_json: bool) -> int:
    """Encrypt every stored secret again, with the first key of the keyring.

    First put the new key before the others (`keys new`), everywhere. A process that uses this .env reads it again by
    itself; any other must be restarted, and until then this command is refused. Safe to stop and to repeat. Exit code 1
    if a value cannot be decrypted.
    """
    from st_pipeline.cli.database_session import open_database
    from st_pipeline.cli.output import number_of, print_json, print_text
    from st_pipeline.tenants.rekeying import rotate as encrypt_anew
    from st_pipeline.vault.encryption import Vault

    with open_database() as (settings, engine):
        done = encrypt_anew(engine, Vault.from_settings(settings))
    if as_json:
        print_json(asdict(done))
        return 1 if done.broken else 0
    print_text(
        f"{number_of(done.values, 'value')} of {number_of(done.credentials, 'credential')} now encrypted with key "
        f"{done.key_id}"
        if done.credentials
        else f"everything that can be decrypted is already encrypted with key {done.key_id}"
    )
    if done.forgotten:
        print_text(
            f"deleted {number_of(done.forgotten, 'token')} that cannot be decrypted: the next sync gets a new one"
        )
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
@click.option("--write", is_flag=True, help="Write it into .env, before the other keys, instead of printing it.")
def new(write: bool) -> None:
    """Create a new key, `id:base64`.

    Without --write only the key is printed, on standard output: put it before the keys you have, with a comma. Refused
    if secrets are stored but no key is set: a new key could not decrypt them.
    """
    from st_pipeline.environment_file import write_values
    from st_pipeline.settings import load_settings
    from st_pipeline.vault.encryption import Vault, generate_key

    settings = load_settings()
    if settings.encryption_keys is None:
        _refuse_if_secrets_are_stored(settings)
    held = "" if settings.encryption_keys is None else settings.encryption_keys.get_secret_value()
    if held:
        Vault.from_settings(settings)  # a malformed keyring must be fixed first
    if write and os.environ.get(VARIABLE):
        raise ConfigurationError(
            f"{VARIABLE} is set in the environment, which takes precedence over .env: create a key without --write, "
            "and put it before the others there"
        )
    key = generate_key()
    key_id = key.partition(":")[0]
    if not write:
        click.echo(key)
        click.echo(f"put it before the others: {VARIABLE}={key_id}:…{',the others' if held else ''}", err=True)
        return
    write_values({VARIABLE: f"{key},{held}" if held else key})
    click.echo(f"key {key_id} is now the first in .env. Keep a copy of the file's keys in a safe place")
    if held:
        click.echo("next: restart what gets its keys from elsewhere than this .env, then `st-pipeline keys rotate`")


def _refuse_if_secrets_are_stored(settings: "Settings") -> None:
    """Raises ConfigurationError; DatabaseUnavailable if the database does not answer and so may contain secrets."""
    from sqlalchemy import inspect, text

    from st_pipeline.postgres.database import main_engine, transaction

    with main_engine(settings) as engine, transaction(engine, "look for stored credentials") as connection:
        is_ours = inspect(connection).has_table("servicetitan_credentials")
        count = text("SELECT count(*) FROM servicetitan_credentials")
        stored = connection.execute(count).scalar_one() if is_ours else 0
    if stored:
        raise ConfigurationError(
            f"{VARIABLE} is not set, but the database holds {stored} credentials encrypted with it: put the key back. "
            "Without it they must be entered again"
        )
