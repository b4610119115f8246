"""Ticks of the sensor, as Dagster's daemon makes them.

Here: a tick, what it asks for, and credentials for it to find. Not here: tests.
"""

import dagster as dg
from dagster._core.definitions.partitions.context import partition_loading_context

from st_pipeline.defs.sensors import tenants_from_credentials
from st_pipeline_tests.defs.platform import QUICK, Platform

DISABLE = "UPDATE companies SET enabled = false WHERE slug = :slug"


class Ticks:
    """Ticks of the sensor, one after the other, as the daemon makes them: requests carried out, the cursor kept."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.cursor: str | None = None

    def __call__(self) -> list[dg.RunRequest] | str:
        """Run requests of a tick, or why there is nothing to do."""
        instance = self.platform.instance
        with (
            dg.build_sensor_context(
                instance=instance, cursor=self.cursor, repository_def=QUICK.get_repository_def()
            ) as context,
            partition_loading_context(dynamic_partitions_store=instance),
        ):
            data = tenants_from_credentials.evaluate_tick(context)
        self.cursor = data.cursor
        for request in data.dynamic_partitions_requests or []:
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                instance.add_dynamic_partitions("tenants", list(request.partition_keys))
            else:
                for key in request.partition_keys:
                    instance.delete_dynamic_partition("tenants", key)
        return data.skip_message or list(data.run_requests or [])

    @property
    def partitions(self) -> list[str]:
        """The tenants Dagster knows."""
        return list(self.platform.instance.get_dynamic_partitions("tenants"))

    def first_syncs(self) -> list[str]:
        """Tenants a tick starts."""
        said = self()
        return [] if isinstance(said, str) else [str(request.partition_key) for request in said]


def new_tenants(platform: Platform, *tenants: str) -> None:
    """Credentials that nobody has registered as partitions."""
    platform.add(*tenants, customers=0, invoices=0, register=False)
