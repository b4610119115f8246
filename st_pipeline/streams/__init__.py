"""The records downstream reads: members and invoices, mapped from a tenant's tables by explicit code.

Here: the registry. Not here: the tables they are built from (entities/).
"""

from st_pipeline.streams.invoices import INVOICES_STREAM
from st_pipeline.streams.members import MEMBERS_STREAM

STREAMS = {stream.name: stream for stream in (MEMBERS_STREAM, INVOICES_STREAM)}
