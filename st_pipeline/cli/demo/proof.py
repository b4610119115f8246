"""Comparing a tenant's tables and streams with the source: our figures with the simulator's.

Here: the comparison. Not here: either side's figures (operations/, simulator/).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from st_pipeline.entities import ENTITIES
from st_pipeline.operations.fingerprint import fingerprint
from st_pipeline.tenants.store import find_tenant


@dataclass(slots=True)
class Proof:
    """What was compared and what differs, in words."""

    entities: int = 0
    live: int = 0
    deleted: int = 0
    invoice_total: Decimal = Decimal(0)
    differences: list[str] = field(default_factory=list)


STREAMS = text("""
    SELECT (SELECT count(*) FROM members_stream m WHERE m.credential_id = :id AND (m.still_exists
            OR m.merged_to_customer_id IS NOT NULL)),
           (SELECT count(*) FROM invoices_stream i WHERE i.credential_id = :id AND i.still_exists),
           (SELECT coalesce(sum(total), 0) FROM invoices_stream i WHERE i.credential_id = :id AND i.still_exists),
           (SELECT count(*) FROM stream_pending p WHERE p.credential_id = :id)
""")


def prove_tenant(connection: Connection, tenant: str, truth: Mapping[str, Mapping[str, Any]]) -> Proof:
    """Compare every entity of a tenant: counts, ids, money, and the bytes of every record."""
    credential_id = find_tenant(connection, tenant).credential_id
    proof = Proof()
    for spec in ENTITIES.values():
        ours = fingerprint(connection, spec, credential_id)
        proof.entities += 1
        proof.live += ours.live
        proof.deleted += ours.deleted
        if spec.name == "invoices":
            proof.invoice_total += ours.totals["total"]
        # The simulator names each list of an entity, and omits those without records.
        theirs = [figures for name, figures in truth.items() if name.partition(".")[0] == spec.name]
        pairs: dict[str, tuple[object, object]] = {
            "live rows": (ours.live, sum(figures["live"] for figures in theirs)),
            "sum of ids": (ours.ids_sum, sum(figures["ids_sum"] for figures in theirs)),
        }
        for column, total in ours.totals.items():
            source = spec.column(column).source
            pairs[f"sum of {column}"] = (total, sum(Decimal(figures["totals"][source]) for figures in theirs))
        if spec.feed_path is not None and ours.bytes_checksum is not None:
            checksum = sum(figures["bytes_checksum"] for figures in theirs)
            pairs["checksum of the records"] = (ours.bytes_checksum, checksum)
        proof.differences += _differences(spec.name, pairs)
    return proof


def prove_streams(connection: Connection, tenant: str, truth: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Compare a tenant's streams: a record for each customer and invoice, the invoices' total, and none waiting."""
    credential_id = find_tenant(connection, tenant).credential_id
    members, invoices, total, waiting = connection.execute(STREAMS, {"id": credential_id}).one()
    pairs = {
        "records of members_stream": (members, truth["customers"]["live"]),
        "records of invoices_stream": (invoices, truth["invoices"]["live"]),
        "sum of total of invoices_stream": (total, Decimal(truth["invoices"]["totals"]["total"])),
        "waiting records": (waiting, 0),
    }
    return _differences("streams", pairs)


def _differences(name: str, pairs: Mapping[str, tuple[object, object]]) -> list[str]:
    return [
        f"{name}: {what} is {mine}, the source has {other}" for what, (mine, other) in pairs.items() if mine != other
    ]
