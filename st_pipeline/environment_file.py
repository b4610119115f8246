"""The `.env` file that `up` writes, so that Dagster's own commands find everything.

Here: its values and its mode (0600). Not here: what the settings mean (settings).
"""

import os
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values, set_key, unset_key

from st_pipeline.errors import ConfigurationError

ENVIRONMENT_FILE = Path(".env")
PRIVATE = 0o600


def read_file(path: Path = ENVIRONMENT_FILE) -> dict[str, str]:
    """The values in the file; empty without a file."""
    return {name: value for name, value in dotenv_values(path, interpolate=False).items() if value is not None}


def write_values(values: Mapping[str, str | None], path: Path = ENVIRONMENT_FILE) -> None:
    """Set these values and keep all others; None removes one. Only the file's owner may read it.

    Raises ConfigurationError when the file cannot be written.
    """
    held = read_file(path)
    try:
        path.touch(mode=PRIVATE)
        for name, value in values.items():
            if value is None and name in held:
                unset_key(path, name)
            elif value is not None and held.get(name) != value:
                set_key(path, name, value, quote_mode="auto")
        path.chmod(PRIVATE)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path.absolute()}: {error.strerror}") from None
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)
