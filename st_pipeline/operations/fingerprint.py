"""A tenant's rows in a few numbers, to compare with the source's.

Here: counts, sums and checksums of one entity. Not here: the source's numbers, and what a difference means.
"""

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, text

from st_pipeline.entities.spec import KEY, EntitySpec


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`live`: rows that are not soft-deleted; `ids_sum`, `totals` and `bytes_checksum` are over those.

    `bytes_checksum`: sum of the first 8 hex digits of each record's md5, as unsigned numbers; None when the records are
    not kept.
    """

    live: int
    deleted: int
    ids_sum: int
    totals: dict[str, Decimal]
    bytes_checksum: int | None


def fingerprint(connection: Connection, spec: EntitySpec, credential_id: int) -> Fingerprint:
    """The numbers of the tenant's rows of one entity."""
    live = "FILTER (WHERE deleted_at IS NULL)"
    sums = "".join(f", coalesce(sum({name}) {live}, 0)" for name in spec.totals)
    query = (
        f"SELECT count(*) {live}, count(*) FILTER (WHERE deleted_at IS NOT NULL), "  # noqa: S608 - names of a spec
        f"coalesce(sum({KEY}) {live}, 0), count(full_data) {live}, "
        f"sum(('x' || left(md5(full_data::text), 8))::bit(32)::bigint) {live}{sums} "
        f"FROM {spec.table} WHERE credential_id = :id"
    )
    rows, deleted, ids, kept, checksum, *totals = connection.execute(text(query), {"id": credential_id}).one()
    return Fingerprint(
        live=rows,
        deleted=deleted,
        ids_sum=int(ids),
        totals=dict(zip(spec.totals, totals, strict=True)),
        bytes_checksum=int(checksum or 0) if kept == rows else None,
    )
