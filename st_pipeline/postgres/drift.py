"""How records differ from ServiceTitan's documents, by field: how often, since when, last when.

Here: the table field_drift. Not here: what counts as a difference (validation/drift.py).
"""

from collections import Counter

from sqlalchemy import Connection, text

from st_pipeline.protocol import Drift, DriftKind

# A field that has become free text, or keys that are ids, would fill the table. Beyond this only what is known counts.
MAX_ROWS = 500


def note(connection: Connection, credential_id: int, entity: str, drift: Counter[Drift]) -> list[Drift]:
    """Add these counts, as part of the chunk's transaction. Returns what was seen for the first time."""
    if not drift:
        return []
    found = sorted(drift)
    new = connection.execute(
        text("""
            WITH known AS (
                SELECT kind, field, value FROM field_drift WHERE credential_id = :id AND entity = :entity
            )
            INSERT INTO field_drift AS d (credential_id, entity, kind, field, value, records)
            SELECT :id, :entity, f.* FROM unnest(
                CAST(:kinds AS text[]), CAST(:fields AS text[]), CAST(:values AS text[]), CAST(:records AS bigint[])
            ) AS f (kind, field, value, records)
            WHERE (SELECT count(*) FROM known) < :most OR (f.kind, f.field, f.value) IN (SELECT * FROM known)
            ON CONFLICT (credential_id, entity, kind, field, value)
            DO UPDATE SET records = d.records + excluded.records, last_seen_at = now()
            RETURNING kind, field, value, xmax = 0 AS is_new
        """),
        {
            "id": credential_id,
            "entity": entity,
            "kinds": [one.kind.value for one in found],
            "fields": [one.field for one in found],
            "values": [one.value for one in found],
            "records": [drift[one] for one in found],
            "most": MAX_ROWS,
        },
    )
    return [Drift(DriftKind(kind), field, value) for kind, field, value, is_new in new if is_new]
