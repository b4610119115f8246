"""Where a command takes a secret from: a file, a variable, standard input, or a hidden prompt. Never an argument.

Here: the sources and their messages. Not here: what a valid key looks like (tenants/). An argument would be in the
process list and in the shell's history. No message shows a path or a variable's name, as somebody may enter the secret
itself there.
"""

import os
import sys
from pathlib import Path

import click
from pydantic import SecretStr

from st_pipeline.errors import ConfigurationError
from st_pipeline.tenants.secret_text import (
    LARGEST_FILE_BYTES,
    clean_secret,
    decode_text,
    others_may_read,
    read_key_file,
)


def given_secret(name: str, option: str, file: Path | None, variable: str | None) -> SecretStr | None:
    """The secret of `--<option>-file` or `--<option>-env`; None if neither is given. Raises ConfigurationError."""
    if file is not None and variable is not None:
        raise ConfigurationError(f"two sources for the {name}: give --{option}-file or --{option}-env, not both")
    if file is not None:
        warn_of_readers(file, f"the file of --{option}-file")
        return _cleaned(name, read_key_file(file, f"the file of --{option}-file"))
    if variable is not None:
        value = os.environ.get(variable)
        if value is None:
            raise ConfigurationError(
                f"the variable that --{option}-env names is not set: give its name, not its value, and export it"
            )
        return _cleaned(name, value)
    return None


def required_secret(file: Path | None, variable: str | None, *, from_stdin: bool) -> SecretStr:
    """The client secret from the option that was given, otherwise from a prompt or a pipe.

    Raises ConfigurationError: two sources, or no valid secret.
    """
    if from_stdin and (file is not None or variable is not None):
        raise ConfigurationError("two sources for the client secret: give one of --client-secret-file, -env and -stdin")
    given = given_secret("client secret", "client-secret", file, variable)
    return given if given is not None else entered_secret("client secret")


def entered_secret(name: str) -> SecretStr:
    """The secret from standard input: a hidden prompt on a terminal, otherwise all of it. Raises ConfigurationError."""
    if sys.stdin.isatty():
        return _cleaned(name, click.prompt(f"{name} (not shown)", hide_input=True, err=True))
    return _cleaned(name, decode_text(sys.stdin.buffer.read(LARGEST_FILE_BYTES + 1), "standard input"))


def warn_of_readers(file: Path, shown: str) -> None:
    """Warn on standard error if other users can read the file."""
    if others_may_read(file):
        click.echo(f"Warning: {shown} can be read by other users of this machine: use chmod 600", err=True)


def _cleaned(name: str, raw: str) -> SecretStr:
    secret, had_blanks = clean_secret(name, raw)
    if had_blanks:
        click.echo(f"Note: white space around the {name} was removed", err=True)
    return secret
