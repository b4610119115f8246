"""Which stream records wait to be built: keys that chunks put in, and that the build takes out with its own write.

Here: the table stream_pending. Not here: which keys a changed row leads to (streams/pending.py), building (streams/).
"""

from collections.abc import Collection

from sqlalchemy import Connection, text


def put(connection: Connection, credential_id: int, stream: str, keys: Collection[int]) -> None:
    """Let these keys wait. One that waits already waits once."""
    if keys:
        connection.execute(
            text("""
                INSERT INTO stream_pending (credential_id, stream, key)
                SELECT :credential_id, :stream, unnest(CAST(:keys AS bigint[])) ON CONFLICT DO NOTHING
            """),
            {"credential_id": credential_id, "stream": stream, "keys": list(keys)},
        )


def take(connection: Connection, credential_id: int, stream: str, limit: int) -> list[int]:
    """Take out up to `limit` keys, lowest first. They wait again when the transaction fails."""
    bound = {"credential_id": credential_id, "stream": stream}
    waiting = "stream_pending WHERE credential_id = :credential_id AND stream = :stream"
    query = text(f"SELECT key FROM {waiting} ORDER BY key LIMIT :limit")  # noqa: S608 - constant text
    keys = list(connection.execute(query, {**bound, "limit": limit}).scalars())
    if keys:
        # By the range and not by a subquery: for a table without statistics that is a nested loop, 2 s for 2,000 keys.
        query = text(f"DELETE FROM {waiting} AND key <= :last")  # noqa: S608 - constant text
        connection.execute(query, {**bound, "last": keys[-1]})
    return keys


def forget(connection: Connection, credential_id: int, stream: str) -> None:
    """Let no key wait."""
    query = text("DELETE FROM stream_pending WHERE credential_id = :credential_id AND stream = :stream")
    connection.execute(query, {"credential_id": credential_id, "stream": stream})
