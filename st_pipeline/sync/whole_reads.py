"""On which nights a tenant's entity is read whole, where the setting spreads whole reads over several.

Here: the rule. Not here: reading (entity.py), what a night between two whole reads does instead (totals.py).
"""

import zlib
from datetime import date, datetime, timedelta

from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres.cursors import Cursor
from st_pipeline.tenants.night_plan import night_of


def is_due(tenant: str, spec: EntitySpec, cursor: Cursor, night: date, nights: int) -> bool:
    """Is the entity to be read whole in this night?

    Where only the list tells what changed, always: such lists are small. So is what a whole read left unfinished, or
    read with fewer columns. Otherwise once in so many nights, each tenant and entity in its own; one that missed its
    night, as nothing ran, has its turn in the next.
    """
    if nights == 1 or spec.is_read_from_list or cursor.last_full_at is None:
        return True
    if cursor.full_started_at is not None or cursor.full_spec_version != spec.version:
        return True
    return is_turn(tenant, spec.name, cursor.last_full_at, night, nights)


def is_turn(tenant: str, name: str, last_full_at: datetime | None, night: date, nights: int) -> bool:
    """Is it the night of an entity or stream of a tenant? Of one that missed its night, the next is."""
    if last_full_at is None or night - night_of(last_full_at) > timedelta(days=nights):
        return True
    return (zlib.crc32(f"{tenant}/{name}".encode()) + night.toordinal()) % nights == 0
