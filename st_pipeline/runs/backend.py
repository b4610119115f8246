"""What every run backend offers, and what it says of a run.

Here: the protocol and its values; importing them does not import Dagster. Not here: the two backends, and choosing one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from st_pipeline.runs.run_request import RunRequest


class Phase(StrEnum):
    """The states of a run."""

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
        """Whether the run is over."""
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED)


class RunBackend(Protocol):
    """Starts Dagster runs and reports on them."""

    @property
    def name(self) -> str:
        """For people."""

    def start(self, request: RunRequest) -> str:
        """Start or queue a run and return its id."""

    def states(self, run_ids: list[str]) -> dict[str, RunState]:
        """The states of these runs."""

    def end_now(self, run_id: str) -> None:
        """End a run without waiting for its chunk."""

    def queued_tenants(self) -> set[str]:
        """Tenants that already have a run of their own, queued or running."""

    def close(self) -> None:
        """Release what the backend holds; runs continue."""
