"""Names of the tags by which runs are found and say what became of them.

Here: the names, so that commands know them without importing Dagster. Not here: their values (defs/).
"""

from collections.abc import Mapping

PREFIX = "st_pipeline"
MODE_TAG = f"{PREFIX}/mode"
WORKER_TAG = f"{PREFIX}/poll_worker"
NIGHT_WORKER_TAG = f"{PREFIX}/night_worker"
RESULT_TAG = f"{PREFIX}/result"
MESSAGE_TAG = f"{PREFIX}/message"  # of a failed run: the first reason
SKIPPED_TAG = f"{PREFIX}/skipped"  # why tenants were skipped
DUE_TAG = f"{PREFIX}/due"  # started by a command that syncs what is due
REQUEST_TAG = f"{PREFIX}/request"  # the command that started the run: one id for all its runs

PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"


def figures_of(tags: Mapping[str, str]) -> dict[str, int]:
    """The sync log's figures as the run's tags show them; empty for a run that ended before it noted any."""
    written = dict(part.rsplit(" ", 1) for part in tags.get(RESULT_TAG, "").split(", ") if part)
    return {name: int(value) for name, value in written.items()}
