"""Following runs in a Dagster whose webserver is silent for a while."""

from collections.abc import Sequence
from typing import cast

import pytest
from sqlalchemy import Engine

from st_pipeline.errors import DagsterSilent
from st_pipeline.runs.backend import Phase, RunState
from st_pipeline.runs.follow import SyncRunner, TenantRun
from st_pipeline.runs.run_request import RunRequest

NOBODY = "Dagster at http://127.0.0.1:3000 does not answer (ConnectError)"


class Dagster:
    """Takes runs and has them succeed when told to; silent from and until certain seconds of its clock."""

    name = "a Dagster"

    def __init__(self, silent: tuple[float, float] = (0, 0), ends_at: float = 0) -> None:
        self.now = 0.0
        self.silent, self.ends_at = silent, ends_at
        self.started: list[str] = []
        self.asked_at: list[float] = []

    def _ask(self) -> None:
        self.asked_at.append(self.now)
        if self.silent[0] <= self.now < self.silent[1]:
            raise DagsterSilent(NOBODY)

    def start(self, request: RunRequest) -> str:
        """Begins at once."""
        self._ask()
        self.started.append(request.tenant)
        return f"run of {request.tenant}"

    def states(self, run_ids: list[str]) -> dict[str, RunState]:
        """The first is running, the others are queued."""
        self._ask()
        if self.now >= self.ends_at:
            return {run_id: RunState(Phase.SUCCEEDED) for run_id in run_ids}
        phases = [Phase.RUNNING] + [Phase.WAITING] * len(run_ids)
        return {run_id: RunState(phase) for run_id, phase in zip(run_ids, phases, strict=False)}

    def end_now(self, run_id: str) -> None:
        """Nobody asks for it here."""
        raise AssertionError(run_id)

    def queued_tenants(self) -> set[str]:
        """None."""
        return set()

    def close(self) -> None:
        """Nothing to do."""

    def clock(self) -> float:
        """Its own time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds


def runner(dagster: Dagster, *tenants: str, at_once: int) -> SyncRunner:
    runs = [TenantRun(number, RunRequest(tenant, "request")) for number, tenant in enumerate(tenants)]
    engine_not_used = cast("Engine", None)
    return SyncRunner(engine_not_used, dagster, runs, at_once, 3600, clock=dagster.clock, sleep=dagster.sleep)


@pytest.mark.parametrize("silent", [(0, 30), (1, 60)], ids=["while it starts runs", "while it follows them"])
def test_a_moment_s_silence_is_waited_out_with_growing_pauses(silent: tuple[float, float]):
    """A webserver that is restarted ended the command, and the tenants that waited were forgotten."""
    dagster = Dagster(silent, ends_at=90)
    following = runner(dagster, "acme", "birch", "cedar", at_once=2)
    following.run()
    assert [run.status for run in following.runs] == ["completed"] * 3
    assert sorted(dagster.started) == ["acme", "birch", "cedar"]
    while_silent = [at for at in dagster.asked_at if silent[0] <= at < silent[1]]
    assert len(while_silent) < 12
    assert while_silent[-1] - while_silent[-2] > while_silent[1] - while_silent[0]


def test_when_the_silence_lasts_every_tenant_is_named_with_where_it_is():
    dagster = Dagster((5, 10_000), ends_at=10_000)
    following = runner(dagster, "acme", "birch", "cedar", at_once=2)
    following.run()
    assert 125 <= dagster.now < 145
    said = {run.tenant: (run.status, run.message) for run in following.runs}
    continues = "and continues: see `st-pipeline sync-status`"
    assert said == {
        "acme": ("unknown", f"{NOBODY}; its run was running {continues}"),
        "birch": ("unknown", f"{NOBODY}; its run was queued {continues}"),
        "cedar": ("failed", f"{NOBODY}; it was not started: sync it again once Dagster answers"),
    }


class Due:
    """Three tenants that are due; the last has nobody behind it."""

    def __init__(self) -> None:
        self.left = ["acme", "birch", "cedar"]
        self.asked: list[int] = []
        self.told: list[tuple[str, str]] = []
        self.kept = 0

    def claim(self, number: int) -> list[TenantRun]:
        """The next ones."""
        self.asked.append(number)
        taken, self.left = self.left[:number], self.left[number:]
        return [TenantRun(len(name), RunRequest(name, "request")) for name in taken]

    def keep(self) -> None:
        """Counted."""
        self.kept += 1

    def ended(self, runs: Sequence[TenantRun]) -> None:
        """Kept, each once."""
        self.told += [end for run in runs if (end := (run.tenant, run.status)) not in self.told]


def test_what_is_due_is_claimed_as_there_is_room_and_each_end_is_told():
    dagster, due = Dagster(), Due()
    following = runner(dagster, "elm", at_once=2)
    following.due = due
    following.run()
    assert dagster.started == ["elm", "acme", "birch", "cedar"]
    assert [run.status for run in following.runs] == ["completed"] * 4
    assert sorted(due.told) == [(name, "completed") for name in ("acme", "birch", "cedar", "elm")]
    assert due.asked[-1] > 0
    assert due.left == []
    assert due.kept > 1


def test_runs_that_are_only_queued_survive_a_silence_too():
    dagster = Dagster((0, 30))
    queueing = runner(dagster, "acme", "birch", at_once=2)
    queueing.submit()
    assert dagster.started == ["acme", "birch"]


def test_each_silence_has_its_own_time_limit():
    dagster = Dagster(ends_at=400)
    following = runner(dagster, "acme", at_once=1)

    def look() -> None:
        dagster.silent = (10, 110) if dagster.now < 120 else (200, 300)

    following.run(look)
    assert following.runs[0].status == "completed"
