"""How long a run may take.

Here: the limits, and a run's deadline. Not here: obeying it (servicetitan/, sync/).

Dagster's run monitoring interrupts a run at its limit, so that one whose machine died does not hold its place forever.
A run that is alive ends by itself before that, and says why.
"""

import dagster as dg

from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline

MAX_RUNTIME_TAG = "dagster/max_runtime"
POLL_MAX_SECONDS = 900
NIGHT_MAX_SECONDS = 900
RECONCILIATION_MAX_SECONDS = 900
FULL_MAX_SECONDS = 6 * 3600
RETENTION_MAX_SECONDS = 3600
TO_END_SECONDS = 60.0  # to write the current chunk and close the sync log; starting the run takes seconds, too


def run_deadline(context: dg.OpExecutionContext | dg.AssetExecutionContext) -> Deadline:
    """When the run must end by itself."""
    of_all_runs = context.instance.run_monitoring_max_runtime_seconds
    seconds = float(context.run.tags.get(MAX_RUNTIME_TAG, of_all_runs))
    if not seconds:
        return NO_DEADLINE
    return NO_DEADLINE.within(max(seconds - TO_END_SECONDS, seconds / 2), f"a run may take {seconds:g} s")
