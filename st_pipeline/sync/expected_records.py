"""How many records a full sync is going to read, for its progress.

Here: adding up the lists' totals. Not here: the request for one total (servicetitan/), reading the records (entity.py).
"""

from collections.abc import Iterable

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import PipelineError
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import total


def expected_records(client: ServiceTitanClient, entities: Iterable[str]) -> int | None:
    """The sum over these entities, of one small request each; None: one of them cannot be counted.

    A list without a total, that of equipment's custom fields, adds nothing: it would be read twice for a few records.

    Its own sync will say what is wrong with it. The others are not asked: in an outage each costs all its retries.
    """
    try:
        return sum(total(client, spec) or 0 for entity in entities for spec in ENTITIES[entity].read_as)
    except PipelineError:
        return None
