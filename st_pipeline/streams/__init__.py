"""The records downstream reads: members and invoices, mapped from a tenant's tables by explicit code.

Here: the registry. Not here: the tables they are built from (entities/).
"""

from st_pipeline.protocol import Source
from st_pipeline.streams.invoices import INVOICES_STREAM
from st_pipeline.streams.members import MEMBERS_STREAM

STREAMS = {stream.name: stream for stream in (MEMBERS_STREAM, INVOICES_STREAM)}


def streams_of(entity: str) -> tuple[tuple[str, Source], ...]:
    """The streams that are made of this entity, by name, and what of it they use."""
    pairs = ((stream.name, source) for stream in STREAMS.values() for source in stream.sources)
    return tuple((name, source) for name, source in pairs if source.entity == entity)
