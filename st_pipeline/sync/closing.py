"""What a tenant's sync as a whole says: of its credential, to the audit trail, and in the sync log's details.

Here: reading the outcomes of all entities. Not here: one entity's failure (tenant.py), what a refusal leads to
(tenants/).
"""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import AuthError, NotTried, PipelineError
from st_pipeline.servicetitan.statistics import RequestStatistics
from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration, SyncResult
from st_pipeline.tenants import audit, store, suspension

NAMES_SHOWN = 3  # of the entities that one cause struck


def note_connection(
    connection: Connection,
    credential_id: int,
    outcomes: Sequence[EntityOutcome],
    resting: Collection[str],
    unchanged: Collection[str] = (),
) -> None:
    """Does the credential work, as far as this sync tells? An outage and a sync that was cut off say nothing.

    Nor does a refused sync of a few entities: some apps get a 403 for a single one with everything else in order. Only
    refused keys do, whatever was asked for. `resting`: the entities that a poll leaves out. `unchanged`: those of
    which its look has found nothing new.
    """
    refusal = refusal_of(outcomes, unchanged)
    is_whole = ENTITIES.keys() <= {outcome.entity for outcome in outcomes} | set(resting)
    if unchanged or any(outcome.error is None for outcome in _asked(outcomes)):
        missing = "; ".join(str(one.error) for one in outcomes if isinstance(one.error, AuthError)) or None
        store.mark_synced(connection, credential_id, entities=ENTITIES, refused=missing)
    elif refusal is not None and (is_whole or refusal.ends_tenant):
        suspension.refused(connection, credential_id, str(refusal))


def refusal_of(outcomes: Sequence[EntityOutcome], unchanged: Collection[str] = ()) -> PipelineError | None:
    """The refusal, where ServiceTitan refused everything that it was asked for."""
    if unchanged:
        return None
    errors = [outcome.error for outcome in _asked(outcomes)]
    refusals = [error for error in errors if isinstance(error, PipelineError) and error.refuses_tenant]
    return refusals[0] if refusals and len(refusals) == len(errors) else None


def _asked(outcomes: Sequence[EntityOutcome]) -> list[EntityOutcome]:
    """What ServiceTitan was asked for: not streams, which are built from tables, and not what was not tried."""
    return [one for one in outcomes if one.entity in ENTITIES and not isinstance(one.error, NotTried)]


def note_in_the_trail(
    connection: Connection, credential_id: int, configuration: SyncConfiguration, result: SyncResult, *, is_news: bool
) -> None:
    """A sync that a person started, and a newly failed one."""
    if configuration.sync_type == "manual" or is_news:
        audit.record(
            connection,
            "sync",
            tenant=result.tenant,
            credential_id=credential_id,
            result="done"
            if result.success
            else "refused"
            if refusal_of(result.outcomes, result.unchanged)
            else "failed",
            details={
                "mode": configuration.mode.value,
                "type": configuration.sync_type,
                "processed": result.counts.processed,
                "sync_id": str(result.sync_id),
            },
        )


def message(result: SyncResult) -> str | None:
    """Why the sync failed, each cause once with the entities it struck; None when it did not."""
    struck: dict[str, list[str]] = {}
    not_tried = []
    for outcome in result.outcomes:
        if isinstance(outcome.error, NotTried):
            not_tried.append(outcome.entity)
        elif outcome.error is not None:
            struck.setdefault(str(outcome.message), []).append(outcome.entity)
    causes = [f"{some_of(entities)}: {cause}" for cause, entities in struck.items()]
    if not_tried:
        causes.append(f"{some_of(not_tried)}: not tried, as what they need failed")
    told = {f"{outcome.entity}: {outcome.message}" for outcome in result.outcomes if outcome.error is not None}
    causes += [error for error in result.errors if error not in told]
    return "; ".join(causes) or None


def some_of(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown, more = ", ".join(names[:NAMES_SHOWN]), len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def details(result: SyncResult, statistics: RequestStatistics) -> dict[str, Any]:
    """What the sync log keeps besides the figures."""
    outcomes = result.outcomes
    paused = {} if result.paused is None else {"paused": f"{result.paused}; the night's next run does the rest"}
    return {
        **paused,
        "api": statistics.as_details(),
        "notes": {o.entity: o.result.notes for o in outcomes if o.result.notes},
        "warnings": {o.entity: dict(o.result.warnings) for o in outcomes if o.result.warnings},
        "drift": {o.entity: o.result.drift_by_field() for o in outcomes if o.result.drift},
        "records_with_nul": {o.entity: o.result.nul_records for o in outcomes if o.result.nul_records},
    }
