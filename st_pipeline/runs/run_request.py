"""What is asked of a run: one tenant, which entities, with which options.

Here: the value, and the job, configuration and tags that follow from it. Not here: starting the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from st_pipeline.runs.tags import DUE_TAG, PARTITION_TAG, REQUEST_TAG


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run of one tenant. `entities`: by name, none for all. `options`: fields of the launchpad's SyncOptions.

    `request_id`: shared by all runs of one command. `is_due`: scheduled work, which skips a busy tenant.
    """

    tenant: str
    request_id: str
    entities: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    is_due: bool = False

    @property
    def job(self) -> str:
        """The Dagster job to launch."""
        return "full_sync" if self.options.get("mode") == "full" else "incremental_sync"

    @property
    def run_config(self) -> dict[str, Any]:
        """The configuration of the run."""
        return {"ops": {"sync_tenants": {"config": dict(self.options)}}} if self.options else {}

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the run starts with."""
        return {
            PARTITION_TAG: self.tenant,
            REQUEST_TAG: self.request_id,
            **({DUE_TAG: "true"} if self.is_due else {}),
        }
