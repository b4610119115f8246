"""Which running processes hold which encryption keys: rotating to a key that one of them lacks would break it.

Here: noting a process, and asking which ones lack a key. Not here: the keyring (vault/), the rotation (rekeying).
A process without a key reads its keyring again, from the `.env` file of its working folder; so one that shares this
file with the process that rotates does not break.
"""

import os
import socket
import uuid

from pydantic import SecretStr
from sqlalchemy import Connection, text

from st_pipeline.environment_file import ENVIRONMENT_FILE, read_file
from st_pipeline.errors import ConfigurationError
from st_pipeline.settings import Settings
from st_pipeline.vault.encryption import VARIABLE, Vault

THIS_PROCESS = uuid.uuid4()
SEEN_MINUTES = 2  # the sensor notes its process every 30 s


def note(connection: Connection, settings: Settings, holder: uuid.UUID = THIS_PROCESS) -> None:
    """Note the process, or the run that `holder` names, with the keys it holds; forget those not seen for a day."""
    try:
        key_ids = Vault.from_settings(settings).key_ids
    except ConfigurationError:
        return  # without a valid keyring it can decrypt nothing, and says so where it tries
    connection.execute(
        text("""
            INSERT INTO keyring_holders AS h (holder, name, key_ids, environment_file, seen_at)
            VALUES (:holder, :name, :key_ids, :file, now())
            ON CONFLICT (holder) DO UPDATE SET key_ids = excluded.key_ids, seen_at = excluded.seen_at
        """),
        {
            "holder": holder,
            "name": f"process {os.getpid()} on {socket.gethostname()}",
            "key_ids": list(key_ids),
            "file": _environment_file(),
        },
    )
    connection.execute(
        text("DELETE FROM keyring_holders WHERE seen_at < now() - interval '1 day' AND NOT session_lives(holder)")
    )


def lacking(connection: Connection, key_id: int) -> list[str]:
    """The living processes that could not decrypt what is encrypted with this key."""
    query = text("""
        SELECT name, environment_file FROM keyring_holders
        WHERE NOT :key_id = ANY(key_ids)
              AND (seen_at > now() - make_interval(mins => :minutes) OR session_lives(holder))
        ORDER BY name
    """)
    rows = connection.execute(query, {"key_id": key_id, "minutes": SEEN_MINUTES}).all()
    shared = _environment_file() if _is_in_environment_file(key_id) else None
    return list(dict.fromkeys(row.name for row in rows if row.environment_file != shared))


def _environment_file() -> str:
    return f"{socket.gethostname()}:{ENVIRONMENT_FILE.absolute()}"


def _is_in_environment_file(key_id: int) -> bool:
    written = read_file().get(VARIABLE)
    try:
        return written is not None and key_id in Vault(SecretStr(written)).key_ids
    except ConfigurationError:
        return False
