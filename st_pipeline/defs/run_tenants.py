"""Which tenants a run covers: those that were meant when it was created.

Here: their names. Not here: syncing them, whether runs are active.

Dagster names a range of partitions by its ends and resolves it in the order that partitions have at the moment.
Partitions come and go with enabled credentials, so a range that waits in the queue can lose an end, become empty, or
cover tenants that nobody meant. But Dagster also writes an event for each asset and partition when it creates a run,
whether for a schedule, a backfill or a person. These events name the run's tenants.
"""

import dagster as dg

from st_pipeline.runs.tags import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

EVENTS_A_PAGE = 1000


def tenants_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The run's tenants, by partition key. A re-execution's are those of the first run.

    Empty: the run has no partitions, or Dagster no longer has the events of its creation.
    """
    if PARTITION_TAG in run.tags:
        return [run.tags[PARTITION_TAG]]
    if RANGE_START_TAG not in run.tags:
        return []
    if run.tags[RANGE_START_TAG] == run.tags[RANGE_END_TAG]:
        return [run.tags[RANGE_START_TAG]]
    first_run = run.root_run_id or run.run_id
    return planned_for(instance, first_run) or planned_for(instance, run.run_id)


def planned_for(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The partitions that Dagster planned when it created the run, sorted."""
    records = records_of(instance, run_id, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    return sorted({record.partition_key for record in records if record.partition_key is not None})


def records_of(instance: dg.DagsterInstance, run_id: str, event_type: dg.DagsterEventType) -> list[dg.EventLogRecord]:
    """All events of a type that a run has."""
    records: list[dg.EventLogRecord] = []
    cursor, has_more = None, True
    while has_more:
        page = instance.get_records_for_run(run_id, cursor=cursor, of_type=event_type, limit=EVENTS_A_PAGE)
        cursor, has_more = page.cursor, page.has_more
        records += page.records
    return records
