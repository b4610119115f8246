"""Pages to batches: the records of one chunk, with the feed token that may be saved with them.

Here: gathering records, and how far the token moves with them. Not here: which pages are read, what becomes of a batch.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from st_pipeline.errors import OutOfTime, PipelineError, TransientApiError
from st_pipeline.servicetitan.pages import Page


@dataclass(frozen=True, slots=True)
class Batch:
    """Records as received; none when a page filled no batch, or brought nothing but a token.

    `token`: of the last page all of whose records are in this batch or an earlier one; None when none ended here.
    `pages`: how many came since the last batch.
    """

    records: Sequence[bytes]
    token: str | None = None
    pages: int = 0


def batches(pages: Iterator[Page], size: int) -> Iterator[Batch]:
    """Batches of `size` records, then one with the rest and the last page's token, if a page came at all.

    A page that fills no batch gives an empty one: pages may be small, empty and many, and the lease is extended with
    each batch. When no further page comes, as ServiceTitan or the time fails, what came before is still given: a tenant
    with slow pages would else read the same ones in each of its turns.
    """
    pending: list[msgspec.Raw] = []
    tokens: deque[tuple[int, str | None]] = deque()  # each page's, and how many records had come with it
    received = given = unsaid = 0
    ended_by: PipelineError | None = None

    def batch(records: list[bytes]) -> Batch:
        nonlocal given, unsaid
        given += len(records)
        token = None
        while tokens and tokens[0][0] <= given:
            token = tokens.popleft()[1] or token
        number, unsaid = unsaid, 0
        return Batch(records, token, number)

    source = iter(pages)
    while True:
        try:
            page = next(source, None)
        except (OutOfTime, TransientApiError) as error:
            ended_by, page = error, None
        if page is None:
            break
        pending += page.records
        received += len(page.records)
        unsaid += 1
        tokens.append((received, page.continue_from))
        if page.has_more and len(pending) < size:
            yield Batch([])
        while len(pending) >= size:
            # Copied here and not with the page: 21 MB less for a page of 5,000 invoices.
            yield batch([bytes(record) for record in pending[:size]])
            del pending[:size]
    if tokens:  # of the last page, whose records may still be pending
        yield batch([bytes(record) for record in pending])
    if ended_by is not None:
        raise ended_by
