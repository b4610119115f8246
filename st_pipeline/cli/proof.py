"""Do a tenant's tables equal the source? Figures of our tables against the simulator's own truth.

Here: the comparison. Not here: either side's figures (postgres/fingerprint.py, the simulator's /_sim/truth).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from st_pipeline.credentials.store import find_tenant
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres.fingerprint import fingerprint


@dataclass(slots=True)
class Proof:
    """What was compared and what differs, in words."""

    entities: int = 0
    live: int = 0
    deleted: int = 0
    invoice_total: Decimal = Decimal(0)
    differences: list[str] = field(default_factory=list)


def prove_tenant(connection: Connection, tenant: str, truth: Mapping[str, Mapping[str, Any]]) -> Proof:
    """Compare every entity of a tenant: counts, ids, money, and the bytes of every record."""
    credential_id = find_tenant(connection, tenant).credential_id
    proof = Proof()
    for spec in ENTITIES.values():
        ours = fingerprint(connection, spec, credential_id)
        proof.entities += 1
        proof.live += ours.live
        proof.deleted += ours.deleted
        proof.invoice_total += ours.totals.get("total", Decimal(0))
        theirs = truth[spec.name]
        pairs: dict[str, tuple[object, object]] = {
            "live rows": (ours.live, theirs["live"]),
            "sum of ids": (ours.ids_sum, theirs["ids_sum"]),
        }
        for column, total in ours.totals.items():
            pairs[f"sum of {column}"] = (total, Decimal(theirs["totals"][spec.column(column).source]))
        if spec.feed_path is not None and ours.bytes_checksum is not None:
            pairs["checksum of the records"] = (ours.bytes_checksum, theirs["bytes_checksum"])
        proof.differences += _differences(spec, pairs)
    return proof


def _differences(spec: EntitySpec, pairs: Mapping[str, tuple[object, object]]) -> list[str]:
    return [
        f"{spec.name}: {what} is {mine}, the source has {other}"
        for what, (mine, other) in pairs.items()
        if mine != other
    ]
