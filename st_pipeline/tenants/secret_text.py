"""Text from a person, a file or a variable that should be a key: cleaned, checked, masked.

Here: the text of one key, and the JSON file of a whole credential. Not here: where the text is read from (cli/),
encryption (vault/). No message shows any part of the text.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from st_pipeline.errors import ConfigurationError

LONGEST_KEY = 1024  # ServiceTitan's keys have fewer than 100 characters; more is a file given by mistake
LARGEST_TENANT_ID = 2**63 - 1
LARGEST_FILE_BYTES = 64 * 1024

_SHOWN_ENDING = 4
_SHORTEST_SHOWN = 12
_PLAIN_NAME = re.compile(r"[a-z_]{1,24}")
_FILE_FORM = "write {tenant_id, client_id, client_secret} and, if the app's differs, app_key"


def clean_secret(name: str, raw: str) -> tuple[SecretStr, bool]:
    """The key, and whether blanks around it were removed, not counting the line end that files and pipes add.

    Raises ConfigurationError: empty, or not a key (blanks inside, characters outside printable ASCII, too long).
    """
    text = raw.removesuffix("\n").removesuffix("\r")
    stripped = text.strip()
    return check_secret(name, stripped), stripped != text


def check_secret(name: str, text: str) -> SecretStr:
    """`text` as a SecretStr. Raises ConfigurationError unless it can be a key as it is."""
    if not text:
        raise ConfigurationError(f"the {name} is empty: copy it from ServiceTitan")
    if any(character.isspace() for character in text):
        raise ConfigurationError(f"the {name} has blanks or line breaks inside: give only the key, on one line")
    if not text.isascii() or not text.isprintable():
        raise ConfigurationError(f"the {name} contains characters that no key has: copy it again, as plain text")
    if len(text) > LONGEST_KEY:
        raise ConfigurationError(
            f"the {name} has {len(text):,} characters, too many for a key: was the wrong file given?"
        )
    return SecretStr(text)


def mask(secret: SecretStr) -> str:
    """`cid.…ab12`: enough to recognise a client id, too little to use it."""
    text = secret.get_secret_value()
    prefix = "cid." if text.startswith("cid.") else ""
    return f"{prefix}…{text[-_SHOWN_ENDING:]}" if len(text) >= _SHORTEST_SHOWN else f"{prefix}…"


@dataclass(frozen=True, slots=True)
class CredentialFile:
    """The content of a credential file."""

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
        # What does not look like a name may be a misplaced secret, and is not shown.
        shown = sorted(name for name in unknown if _PLAIN_NAME.fullmatch(name)) or ["(not shown)"]
        keys = "key" if len(shown) == 1 else "keys"
        raise ConfigurationError(f"{path}: unknown {keys} {', '.join(shown)}: {_FILE_FORM}")
    if missing := [name for name in known[:3] if name not in values]:
        are = "is" if len(missing) == 1 else "are"
        raise ConfigurationError(f"{path}: {', '.join(missing)} {are} missing: {_FILE_FORM}")
    tenant_id = values["tenant_id"]
    if isinstance(tenant_id, bool) or not isinstance(tenant_id, int) or not 0 < tenant_id <= LARGEST_TENANT_ID:
        raise ConfigurationError(f"{path}: tenant_id must be a positive number, without quotes")
    secrets = {}
    for name in known[1:]:
        if values.get(name) is None and name == "app_key":
            continue
        if not isinstance(values[name], str):
            raise ConfigurationError(f"{path}: {name} must be text in quotes")
        secrets[name] = check_secret(f"{name} in {path}", values[name])
    return CredentialFile(tenant_id, secrets["client_id"], secrets["client_secret"], secrets.get("app_key"))


def read_key_file(path: Path, shown: str) -> str:
    """The text of a small file. Raises ConfigurationError: missing, not readable, too large, not text.

    Messages say `shown` instead of the path: where a path is asked for, somebody will give the secret itself.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"cannot read {shown}: {reason}") from None
    return decode_text(data, shown)


def decode_text(data: bytes, shown: str) -> str:
    """The text of the bytes. Raises ConfigurationError: too many, or not UTF-8."""
    if len(data) > LARGEST_FILE_BYTES:
        raise ConfigurationError(
            f"{shown} is larger than {LARGEST_FILE_BYTES // 1024} KB, too large for a credential: is it the right one?"
        )
    try:
        return data.decode("utf-8-sig")  # Windows editors begin files with a byte order mark
    except UnicodeDecodeError:
        raise ConfigurationError(f"{shown} is not valid UTF-8 text: save it as plain text") from None


def others_may_read(path: Path) -> bool:
    """Does the file's mode let its group or everybody read it? False if the mode cannot be read."""
    try:
        return bool(path.stat().st_mode & 0o044)
    except OSError:
        return False


def _read_object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_key_file(path, str(path)), object_pairs_hook=_without_repetition)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"{path} is not valid JSON, from line {error.lineno}, column {error.colno} on; {_FILE_FORM}"
        ) from None
    except (_RepeatedName, RecursionError, ValueError):
        raise ConfigurationError(f"{path}: a key appears twice, or a value is out of range; {_FILE_FORM}") from None
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path} is not a JSON object: {_FILE_FORM}")
    return values


class _RepeatedName(ValueError):
    """JSON allows a name twice and takes the last; in a credential that would hide a mistake."""


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise _RepeatedName
    return dict(pairs)
