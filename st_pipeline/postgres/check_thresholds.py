"""Thresholds of checks that a tenant has for itself.

Here: table check_thresholds. Not here: which thresholds there are, and which value holds (checks/).
"""

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, text


class OwnThreshold(NamedTuple):
    """A row. `entity`: empty for all of them."""

    credential_id: int
    entity: str
    check: str
    name: str
    value: float


def load(connection: Connection, credential_ids: Collection[int] | None = None) -> list[OwnThreshold]:
    """Those of these tenants, or of all."""
    query = text("""
        SELECT credential_id, entity, check_name, name, value FROM check_thresholds
        WHERE CAST(:ids AS bigint[]) IS NULL OR credential_id = ANY(:ids)
        ORDER BY credential_id, entity, check_name, name
    """)
    bound = {"ids": None if credential_ids is None else list(credential_ids)}
    return [OwnThreshold(*row) for row in connection.execute(query, bound)]


def save(connection: Connection, threshold: OwnThreshold) -> None:
    """Set it."""
    connection.execute(
        text("""
            INSERT INTO check_thresholds (credential_id, entity, check_name, name, value)
            VALUES (:credential_id, :entity, :check, :name, :value)
            ON CONFLICT (credential_id, entity, check_name, name) DO UPDATE SET value = excluded.value, set_at = now()
        """),
        threshold._asdict(),
    )


def delete(connection: Connection, credential_id: int, entity: str, check: str, name: str) -> bool:
    """Drop it, so that everybody's value holds again. Returns whether it was set."""
    statement = text("""
        DELETE FROM check_thresholds
        WHERE credential_id = :id AND entity = :entity AND check_name = :check AND name = :name
    """)
    bound = {"id": credential_id, "entity": entity, "check": check, "name": name}
    return bool(connection.execute(statement, bound).rowcount)
