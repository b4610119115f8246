"""Whose records a tenant's streams have: which tenants feed a stream, under which company's name, and what waits.

Here: what Postgres knows of it, for one tenant or many, and what it means. Not here: building records (stream.py).
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, text

from st_pipeline.postgres.cursors import Cursor
from st_pipeline.settings import Settings
from st_pipeline.streams import STREAMS


@dataclass(frozen=True, slots=True)
class StreamOwner:
    """A tenant and one of its streams.

    `is_noted`: are its records kept under this company's Intacct id and trade, and does stream_owners say that they are
    made by this version of the mapping, of these sources? `has_waiting`: do records wait to be built?
    """

    intacct_id: str | None
    trade: str | None
    environment: str
    company: str
    has_production: bool
    is_noted: bool
    has_waiting: bool

    def why_no_stream(self, settings: Settings) -> str | None:
        """Why the tenant feeds no stream; None when it does."""
        if self.intacct_id is None:
            command = f"st-pipeline companies update {self.company} --intacct-id …"
            return f"the company has no Intacct id, which is the tenant of the stream; set it with `{command}`"
        if self.environment == "production":
            return None
        if not settings.integration_feeds_streams:
            return "an integration tenant feeds streams only where ST_PIPELINE_INTEGRATION_FEEDS_STREAMS is true"
        if self.has_production:
            return "the company's production tenant feeds its streams; two would overwrite each other"
        return None

    def has_news(self, cursor: Cursor, settings: Settings) -> bool:
        """Is there something to build, to move to another owner or to drop? `cursor`: the stream's."""
        is_built = cursor.last_full_at is not None
        if cursor.last_failed_at is not None:
            return True
        if self.why_no_stream(settings) is not None:
            return is_built or self.has_waiting
        return not is_built or not self.is_noted or self.has_waiting


def stream_owners(connection: Connection, credential_ids: Collection[int]) -> dict[tuple[int, str], StreamOwner]:
    """By credential and stream. A credential that was removed has none."""
    rows = connection.execute(text(_sql()), {"ids": list(credential_ids)})
    return {(credential_id, stream): StreamOwner(*rest) for credential_id, stream, *rest in rows}


@functools.cache
def _sql() -> str:
    streams = ", ".join(
        f"('{stream.name}', {stream.version}, ARRAY[{', '.join(repr(name) for name in stream.after)}])"
        for stream in STREAMS.values()
    )
    return f"""
        SELECT t.credential_id, s.stream, t.intacct_id, t.trade, t.environment, t.company,
            EXISTS (SELECT FROM tenants p WHERE p.company = t.company AND p.environment = 'production'),
            o.tenant IS NOT DISTINCT FROM t.intacct_id AND o.trade IS NOT DISTINCT FROM t.trade
                AND o.version IS NOT DISTINCT FROM s.version AND o.sources IS NOT DISTINCT FROM s.sources,
            EXISTS (SELECT FROM stream_pending w WHERE w.credential_id = t.credential_id AND w.stream = s.stream)
        FROM tenants t CROSS JOIN (VALUES {streams}) AS s (stream, version, sources)
        LEFT JOIN stream_owners o ON o.credential_id = t.credential_id AND o.stream = s.stream
        WHERE t.credential_id = ANY(:ids)
    """  # noqa: S608 - names of ours
