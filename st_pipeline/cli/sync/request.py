"""What `st-pipeline sync` is asked to do, checked.

Here: the options as one value, and the runs that follow from it. Not here: the command's options and output.
"""

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from st_pipeline.errors import ConfigurationError
from st_pipeline.protocol import Mode
from st_pipeline.runs.follow import TenantRun
from st_pipeline.runs.run_request import RunRequest
from st_pipeline.sync.configuration import SyncConfiguration, moment
from st_pipeline.tenants.selection import Choice, Selection


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """Which tenants to sync, and how. Without names it is scheduled work: what is due."""

    selection: Selection
    configuration: SyncConfiguration
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_due(self) -> bool:
        """Whether it syncs what is due, as the schedules do."""
        return not self.selection.names_somebody

    @property
    def work(self) -> str:
        """Equal for two commands that would do the same; a poll and a nightly full sync differ."""
        asked = self.options() | {"entities": sorted(self.configuration.entities), "of": self.selection.environment}
        return json.dumps(asked, sort_keys=True)

    def options(self) -> dict[str, Any]:
        """The options of its Dagster runs; only those that differ from the defaults."""
        asked = self.configuration.as_details()
        del asked["entities"]
        mode = self.configuration.mode
        return asked | ({} if mode is Mode.INCREMENTAL else {"mode": str(mode)})

    @property
    def is_poll(self) -> bool:
        """Whether it polls what is due, and so claims it."""
        return self.is_due and self.configuration.mode is Mode.INCREMENTAL

    @property
    def is_of_everything(self) -> bool:
        """Whether it is about all entities."""
        return set(self.configuration.entities) == set(SyncConfiguration().entities)

    def runs(self, choices: Iterable[Choice]) -> list[TenantRun]:
        """One for each selected tenant; of a poll, for those that nobody can claim, as they were never synced."""
        return [
            self.run_of(choice.tenant.credential_id, choice.tenant.partition_key)
            for choice in choices
            if choice.taken and not (self.is_poll and choice.tenant.last_sync_at is not None)
        ]

    def run_of(self, credential_id: int, tenant: str) -> TenantRun:
        """The run of a tenant."""
        entities = () if self.is_of_everything else self.configuration.entities
        return TenantRun(credential_id, RunRequest(tenant, self.request_id, entities, self.options(), self.is_due))


def read_request(
    selection: Selection,
    *,
    data_type: str,
    entities: tuple[str, ...],
    mode: str | None,
    force_full_sync: bool,
    modified_from: str,
    modified_to: str,
    rewrite: bool,
    allow_deletions: bool,
    batch_size: int | None,
) -> SyncRequest:
    """The options as a request. Raises ConfigurationError: they contradict each other, or have an unknown name."""
    window = moment("--modified-from", modified_from), moment("--modified-to", modified_to)
    if force_full_sync and mode not in (None, "full"):
        raise ConfigurationError(f"--force-full-sync means --mode full and contradicts --mode {mode}: give one of them")
    mode = "full" if force_full_sync else mode or ("window" if any(window) else "incremental")
    if (mode == "window") != any(window):
        raise ConfigurationError(
            f"--mode window needs --modified-from or --modified-to, and no other mode takes them; the mode is {mode}"
        )
    if allow_deletions and mode != "full":
        raise ConfigurationError("--allow-deletions is for full syncs, which find deleted records: add --mode full")
    configuration = SyncConfiguration(
        data_type=data_type,
        only=entities,
        sync_type="manual" if selection.names_somebody else "scheduled",
        incremental_only=mode != "full",
        modified_from=window[0],
        modified_to=window[1],
        batch_size=batch_size,
        rewrite=rewrite,
        allow_deletions=allow_deletions,
    )
    return SyncRequest(selection, configuration)
