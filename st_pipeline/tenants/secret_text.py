"""Text that came from a person, a file or a variable and should be a key: cleaned, checked, masked.

Here: one key's text, and the JSON file that holds a whole credential. Not here: where the text is read from (cli/),
encryption (vault.py). No message shows any part of what was given.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from st_pipeline.errors import ConfigurationError

LONGEST_KEY = 1024  # ServiceTitan's are below 100 characters; more is a file given by mistake
LARGEST_TENANT_ID = 2**63 - 1
LARGEST_FILE_BYTES = 64 * 1024

_SHOWN_ENDING = 4
_SHORTEST_SHOWN = 12
_PLAIN_NAME = re.compile(r"[a-z_]{1,24}")
_FILE_FORM = "write {tenant_id, client_id, client_secret} and, if the app's differs, app_key"


def clean_secret(name: str, raw: str) -> tuple[SecretStr, bool]:
    """The key, and whether blanks around it were removed besides one line end, which files and pipes add.

    Raises ConfigurationError: empty, or no key (blanks inside, other characters than printable ASCII, too long).
    """
    text = raw.removesuffix("\n").removesuffix("\r")
    stripped = text.strip()
    return check_secret(name, stripped), stripped != text


def check_secret(name: str, text: str) -> SecretStr:
    """`text` masked. Raises ConfigurationError unless it can be a key as it stands."""
    if not text:
        raise ConfigurationError(f"the {name} is empty: paste it from ServiceTitan")
    if any(character.isspace() for character in text):
        raise ConfigurationError(f"the {name} has blanks or line breaks inside: give the key alone, on one line")
    if not text.isascii() or not text.isprintable():
        raise ConfigurationError(f"the {name} holds characters that no key has: copy it again, as plain text")
    if len(text) > LONGEST_KEY:
        raise ConfigurationError(f"the {name} has {len(text):,} characters: that is no key. Was another file given?")
    return SecretStr(text)


def mask(secret: SecretStr) -> str:
    """`cid.…ab12`: enough to recognise a client id by, too little to use."""
    text = secret.get_secret_value()
    prefix = "cid." if text.startswith("cid.") else ""
    return f"{prefix}…{text[-_SHOWN_ENDING:]}" if len(text) >= _SHORTEST_SHOWN else f"{prefix}…"


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """What a credential file holds."""

    tenant_id: int
    client_id: SecretStr
    client_secret: SecretStr
    app_key: SecretStr | None


def read_credential_file(path: Path) -> CredentialFile:
    """Read `{"tenant_id": 1, "client_id": "cid…", "client_secret": "cs…", "app_key": "ak1…"}`, strictly.

    Raises ConfigurationError that names the file and the key that is wrong, never a value.
    """
    values = _read_object(path)
    known = ("tenant_id", "client_id", "client_secret", "app_key")
    if unknown := [name for name in values if name not in known]:
        # A name that does not look like one may be a secret that slipped; it is not shown.
        shown = sorted(name for name in unknown if _PLAIN_NAME.fullmatch(name))
        raise ConfigurationError(f"{path}: unknown key {', '.join(shown) or '(not shown)'}: {_FILE_FORM}")
    if missing := [name for name in known[:3] if name not in values]:
        raise ConfigurationError(f"{path}: {', '.join(missing)} is missing: {_FILE_FORM}")
    tenant_id = values["tenant_id"]
    if isinstance(tenant_id, bool) or not isinstance(tenant_id, int) or not 0 < tenant_id <= LARGEST_TENANT_ID:
        raise ConfigurationError(f"{path}: tenant_id must be a positive number, without quotes")
    keys = {}
    for name in known[1:]:
        if values.get(name) is None and name == "app_key":
            continue
        if not isinstance(values[name], str):
            raise ConfigurationError(f"{path}: {name} must be text in quotes")
        keys[name] = check_secret(f"{name} in {path}", values[name])
    return CredentialFile(tenant_id, keys["client_id"], keys["client_secret"], keys.get("app_key"))


def read_key_file(path: Path, shown: str) -> str:
    """A small text file as it is. Raises ConfigurationError: not there, not readable, too large, not text.

    `shown` stands for the file in messages: where a path is asked for, somebody will put the secret itself.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"cannot read {shown}: {reason}") from None
    return decode_text(data, shown)


def decode_text(data: bytes, shown: str) -> str:
    """Text from bytes. Raises ConfigurationError: too many, or no UTF-8."""
    if len(data) > LARGEST_FILE_BYTES:
        raise ConfigurationError(f"{shown} is larger than {LARGEST_FILE_BYTES // 1024} KB: no credential is that long")
    try:
        return data.decode("utf-8-sig")  # Windows editors put a mark in front
    except UnicodeDecodeError:
        raise ConfigurationError(f"{shown} is no UTF-8 text: save it as plain text") from None


def others_may_read(path: Path) -> bool:
    """Does the file's mode let its group or everybody read it? False where modes mean nothing."""
    try:
        return bool(path.stat().st_mode & 0o044)
    except OSError:
        return False


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_key_file(path, str(path)), object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path} is no JSON: it breaks at line {error.lineno}, column {error.colno}; {_FILE_FORM}"
        ) from None
    except (_RepeatedName, RecursionError, ValueError):
        raise ConfigurationError(
            f"{path}: a key stands there twice, or a value is out of range; {_FILE_FORM}"
        ) from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path} holds no JSON object: {_FILE_FORM}")
    return values


class _RepeatedName(ValueError):
    """JSON lets a name stand twice and takes the last; in a credential that hides a mistake."""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _RepeatedName
    return dict(pairs)
