"""Which entities a poll's one row speaks for: those that answered, of those that were read to their end before.

Here: telling, and keeping what the row said of the others. Not here: the row (postgres/), the poll (polling.py).

A poll that found nothing writes a time into the tenant's row, and no cursor. Entities that are off, or rest after
failures, are named in that row, so that they do not make every poll write the cursors of all others.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from st_pipeline.entities import ENTITIES
from st_pipeline.postgres import cursors
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.postgres.database import transaction
from st_pipeline.postgres.poll_claims import Claim
from st_pipeline.sync.look import parts_of
from st_pipeline.tenants.selection import FEEDS

LISTS = frozenset(ENTITIES).difference(FEEDS)


@dataclass(frozen=True, slots=True)
class Answers:
    """`all_feeds`: that were not left out. `hourly_at`: when all lists were asked, None when they were not.

    `unanswered`: the entities and lists for which the tenant's row is not to speak.
    """

    all_feeds: bool
    hourly_at: datetime | None
    unanswered: frozenset[str]


def note_answers(
    engine: Engine,
    claim: Claim,
    known: Mapping[str, Cursor],
    *,
    answered: Collection[str],
    left_out: Collection[str],
) -> Answers:
    """See who answered. `known`: the tenant's cursors.

    Where the row ceases to speak for an entity, its cursor takes over what the row has said so far.
    """
    loaded = {name for name, cursor in known.items() if cursor.last_full_at is not None}
    feeds, feeds_out = _answers(loaded.intersection(FEEDS), FEEDS, claim, answered, left_out)
    lists, lists_out = _answers(loaded & LISTS, LISTS, claim, answered, left_out)
    for silent, said_at in ((feeds_out, claim.polled_at), (lists_out, claim.hourly_at)):
        new = silent - claim.unanswered
        if new and said_at is not None:
            with transaction(engine, f"note the polls of tenant {claim.partition_key} so far") as connection:
                cursors.note_unchanged(connection, claim.credential_id, new, said_at)
    return Answers(feeds, claim.claimed_at if lists else None, feeds_out | lists_out)


def _answers(
    loaded: Collection[str],
    kind: Collection[str],
    claim: Claim,
    answered: Collection[str],
    left_out: Collection[str],
) -> tuple[bool, frozenset[str]]:
    """Whether all of a kind answered, and for which of them the row is not to speak: as before when not all did."""
    expected = set(loaded).difference(left_out)
    if expected <= set(answered):
        return True, frozenset(parts_of(set(loaded).intersection(left_out)))
    return False, claim.unanswered.intersection(parts_of(kind))
