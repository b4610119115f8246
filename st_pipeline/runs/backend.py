"""What a command wants run, and what it hears of the run, whichever way the run is made.

Here: the values and what a way must offer; no Dagster, so that naming them costs nothing. Not here: the two ways:
through a running Dagster (launch.py), in processes of our own (runs_here.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from st_pipeline.runs.tags import DUE_TAG, PARTITION_TAG, REQUEST_TAG


@dataclass(frozen=True, slots=True)
class WantedRun:
    """A run of one tenant. `entities`: by name, none for all; `options`: fields of defs/options.py's SyncOptions.

    `request_id`: of the command, shared by its runs. `is_due`: scheduled work, which leaves a busy tenant alone.
    """

    tenant: str
    request_id: str
    entities: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    is_due: bool = False

    @property
    def job(self) -> str:
        """The job that does it."""
        return "full_sync" if self.options.get("mode") == "full" else "incremental_sync"

    @property
    def run_config(self) -> dict[str, Any]:
        """The configuration of the run."""
        return {"ops": {"sync_tenants": {"config": dict(self.options)}}} if self.options else {}

    @property
    def tags(self) -> dict[str, str]:
        """The tags it starts with."""
        return {
            PARTITION_TAG: self.tenant,
            REQUEST_TAG: self.request_id,
            **({DUE_TAG: "true"} if self.is_due else {}),
        }


class Phase(StrEnum):
    """How far a run is."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunState:
    """How far a run is; `tags` once it ended. `message`: why it failed, where its tags do not say."""

    phase: Phase
    tags: Mapping[str, str] = field(default_factory=dict)
    message: str | None = None

    @property
    def has_ended(self) -> bool:
        """Will nothing more come of it?"""
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED)


class Door(Protocol):
    """A way to run things in Dagster."""

    @property
    def name(self) -> str:
        """For people."""

    def start(self, wanted: WantedRun) -> str:
        """Start or queue it and return the run's id."""

    def states(self, run_ids: list[str]) -> dict[str, RunState]:
        """How far these runs are."""

    def end_now(self, run_id: str) -> None:
        """End a run without waiting for its chunk."""

    def queued_tenants(self) -> set[str]:
        """Tenants for which a run of their own is queued or going on already."""

    def close(self) -> None:
        """Let go of what the way itself holds; runs go on."""
