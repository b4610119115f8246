"""What a person may choose in the launchpad.

Here: the fields, and turning them into the configuration of a sync. Not here: what they mean (sync/).
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
    """How much is read. Dagster shows an enum's names, so they equal the values."""

    incremental = Mode.INCREMENTAL.value
    full = Mode.FULL.value
    window = Mode.WINDOW.value


class SyncOptions(dg.Config):
    """Options of a sync."""

    mode: ModeChoice | None = Field(
        default=None,
        description="incremental: what changed since the last sync (the first one reads everything). full: "
        "everything, then mark deleted records. window: what was modified between modified_from and modified_to. "
        "Empty: full in the job full_sync, otherwise incremental.",
    )
    modified_from: str = Field(default="", description="Start of the window, inclusive, such as 2026-01-31T00:00:00Z.")
    modified_to: str = Field(default="", description="End of the window, exclusive. Empty: no end.")
    batch_size: int = Field(default=0, description="Rows in a chunk. 0: the setting, 2,000 unless changed.")
    rewrite: bool = Field(default=False, description="Write all rows, also those that did not change.")
    allow_deletions: bool = Field(
        default=False, description="Let a full sync mark more deletions than the guard allows."
    )

    def configuration(self, entities: list[str], sync_type: SyncType, *, job_is_full: bool) -> SyncConfiguration:
        """The configuration of the sync. Raises ConfigurationError when the options contradict each other."""
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
