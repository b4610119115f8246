"""Everything a sync can bring up to date, by name and in order, and the words people use for parts of it.

Here: SYNCED and the data types. Not here: what an entity or a stream is (entities/, streams/).
"""

from collections.abc import Mapping

from st_pipeline.entities import ENTITIES, accounting, crm, memberships
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import StreamSpec

# Entities first, streams after all they are built from.
SYNCED: Mapping[str, EntitySpec | StreamSpec] = {**ENTITIES, **STREAMS}

# What a person or the user's documents call a kind of data, and the areas it stands for. The streams built from these
# come with it. What no word covers (jobs, estimates, reference lists, …) is named, or comes with `all`.
AREAS = {
    "customers": (memberships, crm),
    "invoices": (accounting,),
    "both": (memberships, crm, accounting),
}
DATA_TYPES = (*AREAS, "all")


def synced_by(data_type: str) -> tuple[str, ...]:
    """The entities and streams that a data type stands for, or those named in `customers,invoices_stream`.

    Raises KeyError with the first unknown name.
    """
    if data_type == "all":
        return tuple(SYNCED)
    if data_type in AREAS:
        entities = {spec.name for area in AREAS[data_type] for spec in area.ENTITIES}
        streams = {stream.name for stream in STREAMS.values() if data_type in (stream.data_type, "both")}
        return tuple(name for name in SYNCED if name in entities | streams)
    wanted = {name.strip() for name in data_type.split(",")}
    unknown = sorted(wanted - set(SYNCED))
    if unknown:
        raise KeyError(unknown[0])
    return tuple(name for name in SYNCED if name in wanted)
