"""In which order a tenant's entities are tried, and after which failures the rest is left for the next sync.

Here: the two rules. Not here: which entities a poll leaves out (poll_policy.py), trying them (tenant.py).
"""

from collections.abc import Collection, Sequence

from st_pipeline.errors import InvalidApiResponseFormat, TransientApiError
from st_pipeline.sync.data_types import SYNCED

# One may be a single address that is down. Each costs up to two minutes of retries, and other tenants wait meanwhile.
OUTAGES_IN_A_ROW = 2


def failed_last(entities: Sequence[str], failed: Collection[str]) -> list[str]:
    """What failed the last time after the others, and what depends on it after that.

    So two addresses that are down for days, side by side in the usual order, do not keep the rest from being read.
    """
    late: list[str] = []
    for name in entities:
        if name in failed or any(before in late for before in SYNCED[name].after):
            late.append(name)
    return [name for name in entities if name not in late] + late


def is_outage(error: Exception | None) -> bool:
    """After all the retries of a request: did ServiceTitan, or the way to it, give no usable answer?"""
    return isinstance(error, TransientApiError | InvalidApiResponseFormat)
