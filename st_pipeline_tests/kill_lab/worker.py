"""The process that syncs and is killed: the product's own synchronize_data, watched from outside.

Here: one order, its kill at a place, what it tells the lab. Not here: kills at a moment in time, checks (lab.py).
"""

import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import structlog
from sqlalchemy import event

from st_pipeline.errors import PipelineError
from st_pipeline.postgres.database import main_url, open_engine
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.functions import synchronize_data
from st_pipeline_tests.kill_lab.kill_plans import KillPlan, Kind, watch


@dataclass(frozen=True, slots=True)
class Order:
    """Sync a tenant; be killed on the way. `settings`: fields of Settings."""

    tenant: str
    full: bool
    scheduled: bool
    settings: Mapping[str, Any]
    postmaster_pid: int
    plan: KillPlan | None


@dataclass(frozen=True, slots=True)
class Began:
    """The worker's first message: from here its seconds count. `backend_pid` of the connection that syncs."""

    backend_pid: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The worker's last message, when it lived to its end.

    `unexpected`: kinds of errors that are not the pipeline's own. `passed`: how often it came by each place.
    """

    errors: tuple[str, ...]
    unexpected: tuple[str, ...]
    seconds: float
    passed: Mapping[str, int]


def work(order: Order, messages: Connection) -> None:
    """Carry an order out in this process; exit code 1 when the sync failed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    settings = Settings(**order.settings)
    engine = open_engine(main_url(settings))
    passed: Counter[str] = Counter()
    backend_pids: list[int] = []

    def connected(driver: Any, _record: object) -> None:
        backend_pids.append(driver.info.backend_pid)
        if len(backend_pids) == 1:
            messages.send(Began(driver.info.backend_pid))

    def come_by(place: str) -> None:
        passed[place] += 1
        plan = order.plan
        if plan is not None and (plan.place, plan.nth) == (place, passed[place]):
            messages.send(plan)
            kill(plan.kind, os.getpid(), order.postmaster_pid, backend_pids[0])

    event.listen(engine, "connect", connected)
    watch(come_by)
    started = time.monotonic()
    configuration = SyncConfiguration(
        incremental_only=not order.full, sync_type="scheduled" if order.scheduled else "manual"
    )
    try:
        result = synchronize_data(order.tenant, configuration, settings=settings, engine=engine)
        errors, outcomes = tuple(result.errors), result.outcomes
    except PipelineError as error:
        errors, outcomes = (str(error),), []
    unexpected = tuple(
        type(outcome.error).__name__ for outcome in outcomes if not isinstance(outcome.error, PipelineError | None)
    )
    messages.send(Ended(errors, unexpected, time.monotonic() - started, passed))
    engine.dispose()
    raise SystemExit(1 if errors else 0)


def kill(kind: Kind, worker_pid: int, postmaster_pid: int, backend_pid: int) -> None:
    """End them as a power cut or the system's out-of-memory killer would: with no chance to tidy up."""
    if kind in (Kind.POSTGRES, Kind.BOTH):
        os.kill(postmaster_pid, signal.SIGKILL)
    if kind is Kind.BACKEND:
        os.kill(backend_pid, signal.SIGKILL)
    if kind in (Kind.WORKER, Kind.BOTH):
        os.kill(worker_pid, signal.SIGKILL)
