"""What a person may choose in the launchpad.

Here: the fields, and turning them into the engine's configuration. Not here: their meaning (sync_configuration.py).
"""

from enum import Enum

import dagster as dg
from pydantic import Field

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres.sync_log import SyncType
from st_pipeline.protocol import Mode
from st_pipeline.sync.configuration import SyncConfiguration, moment
from st_pipeline.sync.data_types import AREAS, synced_by


class ModeChoice(Enum):
    """How much is read. Dagster offers an enum by its names, so they equal the values."""

    incremental = Mode.INCREMENTAL.value
    full = Mode.FULL.value
    window = Mode.WINDOW.value


class SyncOptions(dg.Config):
    """Options of a sync."""

    mode: ModeChoice | None = Field(
        default=None,
        description="incremental: from where the last sync ended (the first one reads everything). full: everything, "
        "and mark what is gone. window: what was modified between modified_from and modified_to. Empty: as the job "
        "says, full in full_sync and otherwise incremental.",
    )
    modified_from: str = Field(default="", description="Start of the window, inclusive, such as 2026-01-31T00:00:00Z.")
    modified_to: str = Field(default="", description="End of the window, exclusive. Empty: open.")
    batch_size: int = Field(default=0, description="Rows a chunk. 0: the setting, 2,000 unless changed.")
    rewrite: bool = Field(default=False, description="Write rows even when they did not change.")
    allow_deletions: bool = Field(
        default=False, description="A person's word that a full sync may mark an unusual share of rows as deleted."
    )

    def configuration(self, entities: list[str], sync_type: SyncType, *, job_is_full: bool) -> SyncConfiguration:
        """The engine's configuration. Raises ConfigurationError when the options contradict each other."""
        mode = self.mode or (ModeChoice.full if job_is_full else ModeChoice.incremental)
        window = (moment("modified_from", self.modified_from), moment("modified_to", self.modified_to))
        if (mode is ModeChoice.window) != any(window):
            raise ConfigurationError(
                f"mode window needs modified_from or modified_to, and no other mode takes them; mode is {mode.value}"
            )
        data_type = named_data_type(entities)
        return SyncConfiguration(
            data_type=data_type or "all",
            only=() if data_type else tuple(entities),
            sync_type=sync_type,
            incremental_only=mode is not ModeChoice.full,
            modified_from=window[0],
            modified_to=window[1],
            batch_size=self.batch_size or None,
            rewrite=self.rewrite,
            allow_deletions=self.allow_deletions,
        )


def named_data_type(entities: list[str]) -> str | None:
    """The data type that stands for exactly these entities, if there is one."""
    return next((name for name in ("all", *AREAS) if set(synced_by(name)) == set(entities)), None)
