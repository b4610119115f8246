"""Re-encrypt every stored secret with the newest key, and find out which keys are still needed.

Here: counting values by key, encrypting them again. Not here: a value's format (vault/), where the keyring is kept.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, Engine, RowMapping, text

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.database import transaction
from st_pipeline.tenants import keyring_holders
from st_pipeline.tenants.audit import Entry
from st_pipeline.tenants.store import SECRET_COLUMNS
from st_pipeline.vault.encryption import Vault, key_id_of

COLUMNS = (*SECRET_COLUMNS, "access_token")
ROWS_PER_BATCH = 50  # credentials in one transaction: their rows are locked for some milliseconds
_SELECT = (
    f"SELECT t.partition_key, c.id, {', '.join(f'c.{column}' for column in COLUMNS)} "  # noqa: S608 - names of ours
    "FROM servicetitan_credentials c JOIN tenants t ON t.credential_id = c.id"
)


@dataclass(slots=True)
class KeyUse:
    """A key: whether it is in the keyring, how many stored values name it, and how many of those it decrypts."""

    key_id: int
    in_keyring: bool
    encrypts: bool
    values: int = 0
    open: int = 0


@dataclass(slots=True)
class Status:
    """Every key in the keyring or named by a value, and `broken`: a line for each value that cannot be decrypted."""

    keys: list[KeyUse]
    broken: list[str] = field(default_factory=list)

    @property
    def removable(self) -> list[int]:
        """Keys of the keyring that no value needs, except the one that encrypts."""
        return [key.key_id for key in self.keys if key.in_keyring and not key.encrypts and not key.values]

    @property
    def to_rotate(self) -> int:
        """How many values can be decrypted with a key other than the first."""
        return sum(key.open for key in self.keys if not key.encrypts)


@dataclass(slots=True)
class Rotation:
    """The result of a rotation. `forgotten`: tokens that could not be decrypted; the next sync fetches new ones."""

    key_id: int
    credentials: int = 0
    values: int = 0
    forgotten: int = 0
    broken: list[str] = field(default_factory=list)


def status(connection: Connection, vault: Vault) -> Status:
    """Decrypt every stored value, and count."""
    uses = {
        key_id: KeyUse(key_id, in_keyring=True, encrypts=key_id == vault.current_key_id) for key_id in vault.key_ids
    }
    broken = []
    for row in connection.execute(text(f"{_SELECT} ORDER BY t.partition_key")).mappings():
        for column, value in _values(row).items():
            key_id = key_id_of(value)
            use = uses.setdefault(key_id, KeyUse(key_id, in_keyring=False, encrypts=False))
            use.values += 1
            try:
                vault.decrypt(row["partition_key"], column, value)
                use.open += 1
            except ConfigurationError as error:
                broken.append(str(error))
    return Status(list(uses.values()), broken)


def rotate(engine: Engine, vault: Vault, *, rows_per_batch: int = ROWS_PER_BATCH) -> Rotation:
    """Re-encrypt every value that is not under the first key. Stopped or killed, it continues when called again.

    A client id, secret or app key that cannot be decrypted stays, and is listed in `broken`; a token is deleted. Raises
    ConfigurationError while a running process could not decrypt the result.
    """
    with transaction(engine, "ask which processes hold the new key") as connection:
        lacking = keyring_holders.lacking(connection, vault.current_key_id)
    if lacking:
        raise ConfigurationError(
            f"{', '.join(lacking)} {'do' if len(lacking) > 1 else 'does'} not have key {vault.current_key_id}, and "
            "could not read credentials after a rotation. Put the key in front of the others there, restart "
            f"{'them' if len(lacking) > 1 else 'it'} (or wait until the run ends), and rotate two minutes later"
        )
    done = Rotation(vault.current_key_id)
    last_id = 0
    while True:
        with transaction(engine, "encrypt stored secrets anew") as connection:
            # Locked, so that saving a new token waits, and we do not overwrite it with the old one.
            sql = text(f"{_SELECT} WHERE c.id > :last ORDER BY c.id LIMIT :rows FOR NO KEY UPDATE OF c")
            rows = connection.execute(sql, {"last": last_id, "rows": rows_per_batch}).mappings().all()
            for row in rows:
                _rotate_row(connection, vault, row, done)
        if len(rows) < rows_per_batch:
            break
        last_id = rows[-1]["id"]
    with transaction(engine, "note the rotation of keys") as connection:
        details = {"key_id": done.key_id, "values": done.values, "broken": len(done.broken)}
        Entry("keys.rotate", None, None, {**details}).write(connection, "failed" if done.broken else "done")
    return done


def _rotate_row(connection: Connection, vault: Vault, row: RowMapping, done: Rotation) -> None:
    changed: dict[str, bytes | None] = {}
    for column, value in _values(row).items():
        if key_id_of(value) == vault.current_key_id:
            continue
        try:
            secret = vault.decrypt(row["partition_key"], column, value)
        except ConfigurationError as error:
            if column == "access_token":
                changed |= {"access_token": None, "token_expires_at": None}
                done.forgotten += 1
            else:
                done.broken.append(str(error))
            continue
        changed[column] = vault.encrypt(row["partition_key"], column, secret)
        done.values += 1
    if changed:
        assignments = ", ".join(f"{column} = :{column}" for column in changed)
        sql = text(f"UPDATE servicetitan_credentials SET {assignments} WHERE id = :id")  # noqa: S608
        connection.execute(sql, {**changed, "id": row["id"]})
        done.credentials += 1


def _values(row: RowMapping) -> dict[str, bytes]:
    return {column: bytes(row[column]) for column in COLUMNS if row[column] is not None}
