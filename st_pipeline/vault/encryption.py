"""Encrypt what the database must not show: client id, client secret, app key, access token.

Here: the keyring, reading it again, and the format of one value. Not here: which rows hold values, and which processes
hold the keys (tenants/).

A value is `version (1 byte) ‖ key id (4 bytes, big endian) ‖ nonce (12 bytes) ‖ AES-256-GCM ciphertext and tag`. Its
associated data is `version|tenant|column`. The tenant is the partition key (`acme-plumbing@integration`): it is known
before the row exists, belongs to one credential, and never changes. So a value copied to another row, another
environment or another column cannot be decrypted.
"""

import base64
import binascii
import os
import re
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from st_pipeline.environment_file import ENVIRONMENT_FILE, read_file
from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import Settings

VERSION = 1
KEY_BYTES = 32
NONCE_BYTES = 12  # random: safe for 2**32 values per key
TAG_BYTES = 16
LARGEST_KEY_ID = 2**32 - 1
VARIABLE = "ST_PIPELINE_ENCRYPTION_KEYS"

_HEADER_BYTES = 1 + 4
_ENTRY = re.compile(r"([0-9]{1,10}):(.+)", re.DOTALL | re.ASCII)


class Vault:
    """A keyring: the first key encrypts; a value names the key that decrypts it. Cheap to make (microseconds)."""

    def __init__(self, keyring: SecretStr) -> None:
        self._keys = _read_keyring(keyring.get_secret_value())
        self.current_key_id = next(iter(self._keys))

    @classmethod
    def from_settings(cls, settings: Settings) -> "Vault":
        """The vault of this installation. Raises ConfigurationError: the keyring is missing or malformed."""
        if settings.encryption_keys is None:
            raise ConfigurationError(
                f"there is no key to encrypt secrets with: {VARIABLE} is not set. `st-pipeline up` makes one and "
                "writes it to .env; with a Postgres of your own, set it to `id:base64` of 32 random bytes"
            )
        return cls(settings.encryption_keys)

    def _read_again(self, key_id: int) -> None:
        """Keys may have been rotated since this process read its own: take the keyring that has the missing one."""
        for written in (os.environ.get(VARIABLE), read_file().get(VARIABLE)):
            try:
                keys = _read_keyring(written or "")
            except ConfigurationError:
                continue  # half-written, or missing
            if key_id in keys:
                self._keys = keys | {old: key for old, key in self._keys.items() if old not in keys}
                self.current_key_id = next(iter(keys))
                return

    @property
    def key_ids(self) -> tuple[int, ...]:
        """The ids of the keys; the first one encrypts."""
        return tuple(self._keys)

    def __repr__(self) -> str:
        return f"Vault(key ids {', '.join(map(str, self._keys))})"

    def encrypt(self, tenant: str, column: str, secret: SecretStr) -> bytes:
        """The stored form of one column's secret, under the first key."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._keys[self.current_key_id].encrypt(
            nonce, secret.get_secret_value().encode(), _bound_to(tenant, column)
        )
        return bytes([VERSION]) + self.current_key_id.to_bytes(4, "big") + nonce + sealed

    def decrypt(self, tenant: str, column: str, value: bytes) -> SecretStr:
        """Decrypt a stored value. Raises ConfigurationError: its key is missing, or the key does not decrypt it."""
        enter_again = "enter it again with `st-pipeline credentials add --replace`"
        if len(value) < _HEADER_BYTES + NONCE_BYTES + TAG_BYTES or value[0] != VERSION:
            raise ConfigurationError(
                f"{column} of {tenant} was not encrypted by this version of st-pipeline: {enter_again}"
            )
        key_id = key_id_of(value)
        if key_id not in self._keys:
            self._read_again(key_id)
        if key_id not in self._keys:
            held = ", ".join(map(str, self._keys))
            raise ConfigurationError(
                f"{column} of {tenant} was encrypted with key {key_id}, which {VARIABLE} does not hold in this process "
                f"(it has {held}), nor does {ENVIRONMENT_FILE.absolute()}. Nothing is lost while that key exists: add "
                f"it to {VARIABLE} here, or restart this process if the keys were rotated. Only if the key is lost for "
                f"good, {enter_again}"
            )
        nonce, sealed = value[_HEADER_BYTES : _HEADER_BYTES + NONCE_BYTES], value[_HEADER_BYTES + NONCE_BYTES :]
        try:
            return SecretStr(self._keys[key_id].decrypt(nonce, sealed, _bound_to(tenant, column)).decode())
        except InvalidTag:
            raise ConfigurationError(
                f"{column} of {tenant} cannot be decrypted with key {key_id}: the value was changed or copied from "
                f"another row, or the key under that id is another one. If that cannot be undone, {enter_again}"
            ) from None


def key_id_of(value: bytes) -> int:
    """The id of the key that encrypted a value."""
    return int.from_bytes(value[1:_HEADER_BYTES], "big")


def generate_key() -> str:
    """A new entry for the keyring, `id:base64`. The id is random, so that two keys do not share one by accident."""
    return f"{secrets.randbelow(LARGEST_KEY_ID) + 1}:{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}"


def _bound_to(tenant: str, column: str) -> bytes:
    return f"{VERSION}|{tenant}|{column}".encode()


def _read_keyring(text: str) -> dict[int, AESGCM]:
    keys: dict[int, AESGCM] = {}
    for position, entry in enumerate(text.split(","), start=1):
        try:
            key_id, key = _read_entry(entry.strip())
        except ValueError as error:
            raise ConfigurationError(f"{VARIABLE}, entry {position}: {error}; write `id:base64` of 32 bytes") from None
        if key_id in keys:
            raise ConfigurationError(f"{VARIABLE}, entry {position}: key id {key_id} appears twice; remove one")
        keys[key_id] = AESGCM(key)
    return keys


def _read_entry(entry: str) -> tuple[int, bytes]:
    """Raises ValueError whose message shows nothing of the entry: a malformed one may contain a whole key."""
    if not entry:
        raise ValueError("it is empty")
    parts = _ENTRY.fullmatch(entry)
    if parts is None or int(parts[1]) > LARGEST_KEY_ID:
        raise ValueError(f"it does not begin with a key id (0 to {LARGEST_KEY_ID}) and a colon")
    try:
        # Both alphabets of base64: `openssl rand -base64 32` and Python's urlsafe form.
        key = base64.b64decode(parts[2].replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("what follows the key id is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"the key has {len(key)} bytes, not {KEY_BYTES}")
    return int(parts[1]), key
