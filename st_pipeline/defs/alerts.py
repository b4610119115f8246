"""The sensor that looks for problems once a minute, and tells people.

Here: when. Not here: what (alerts/), which `st-pipeline alerts deliver` does without Dagster.
"""

import os

import dagster as dg

from st_pipeline.alerts.tick import look_and_tell
from st_pipeline.settings import load_settings

INTERVAL_SECONDS = 60


@dg.sensor(
    name="alerts",
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Look for problems, tell people of new ones and of those that are over, call the heartbeat's address.",
)
def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """One tick; it starts no run."""
    settings = load_settings()
    done = look_and_tell(settings, os.environ)
    if done.database is not None:
        context.log.error(done.database)
    for channel, error in done.sent.failed.items():
        context.log.warning(f"channel {channel} takes no messages: {error}")
    return dg.SkipReason(str(done))
