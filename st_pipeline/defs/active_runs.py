"""Runs that are queued or running, and which tenants they sync.

Here: reading them from the instance, so that a schedule or sensor does not launch the same work twice. Not here: who
may write a tenant's rows: its lease decides that (postgres/), however the run was launched.
"""

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from st_pipeline.defs.run_tenants import tenants_of
from st_pipeline.runs.tags import NIGHT_WORKER_TAG, WORKER_TAG

POLL_JOB = "incremental_poll"
NIGHT_JOB = "nightly_full_sync"
CHECKS_JOB = "changed_checks"
ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def active_workers(instance: dg.DagsterInstance) -> set[str]:
    """The numbers of the workers whose polls are queued or running."""
    runs = instance.get_runs(dg.RunsFilter(job_name=POLL_JOB, statuses=ACTIVE))
    return {run.tags[WORKER_TAG] for run in runs if WORKER_TAG in run.tags}


def queued_night_workers(instance: dg.DagsterInstance) -> set[str]:
    """The numbers of the night's workers with a run that has not begun."""
    waiting = [
        status for status in ACTIVE if status not in (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
    ]
    runs = instance.get_runs(dg.RunsFilter(job_name=NIGHT_JOB, statuses=waiting))
    return {run.tags[NIGHT_WORKER_TAG] for run in runs if NIGHT_WORKER_TAG in run.tags}


def is_showing_checks(instance: dg.DagsterInstance) -> bool:
    """Whether a run that tells of changed checks is queued or running."""
    return bool(instance.get_runs(dg.RunsFilter(job_name=CHECKS_JOB, statuses=ACTIVE), limit=1))


def active_tenants(instance: dg.DagsterInstance) -> set[str]:
    """The tenants of the active asset runs, each of one partition or a range."""
    runs = instance.get_runs(dg.RunsFilter(statuses=ACTIVE))
    return {tenant for run in runs for tenant in tenants_of(instance, run)}


def is_backfilling(instance: dg.DagsterInstance) -> bool:
    """Whether a backfill is in progress."""
    in_progress = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    return bool(instance.get_backfills(filters=in_progress, limit=1))
