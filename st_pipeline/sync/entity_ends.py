"""How an entity's or a stream's sync ended: in its cursor, in the sync log, and whether it is worth an event.

Here: noting it. Not here: syncing it (entity.py, stream.py), what it means for the tenant's other entities (tenant.py).
"""

import traceback
from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from st_pipeline.errors import PipelineError, without_frames
from st_pipeline.postgres import cursors
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.sync.configuration import EntityOutcome
from st_pipeline.sync.context import EntityResult

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class EntityEnds:
    """Of one tenant's sync. `is_poll`: then only what changed, failed anew or recovered is reported."""

    connection: Connection
    credential_id: int
    log: SyncLog
    is_poll: bool

    def succeeded(self, result: EntityResult) -> EntityOutcome:
        """Note a success. Raises DatabaseUnavailable."""
        with database_errors(f"sync of tenant {self.log.tenant}"), self.connection.begin():
            found = result.counts.changed > 0 or result.counts.failed > 0
            has_recovered = self._failed_before(result.entity)
            report = not self.is_poll or found or has_recovered
            if has_recovered:
                cursors.save(self.connection, self.credential_id, result.entity, **cursors.WORKS)
            self.log.counts[result.entity] = result.counts  # for the tenant's figures, also without a row of its own
            if report:
                self.log.progress(self.connection, result.entity, result.mode, result.counts, result.cursor_before)
            if self.log.id is not None:  # its chunks may have begun a row although it is not worth an event
                self.log.entity_ended(self.connection, result.entity, cursor_after=result.cursor_after)
        return EntityOutcome(result.entity, result, report=report)

    def failed(self, result: EntityResult, error: Exception) -> EntityOutcome:
        """Note a failure where an operator looks. Where Postgres itself is gone, the next start settles it."""
        outcome = EntityOutcome(result.entity, result, error)
        if not isinstance(error, PipelineError):
            place = "".join(traceback.format_tb(error.__traceback__))
            log.error("unexpected error", tenant=self.log.tenant, entity=result.entity, place=place)
        without_frames(error)
        try:
            if self.connection.in_transaction():
                self.connection.rollback()
            with self.connection.begin(), self.log.forgotten_on_rollback():
                is_news = not self._failed_before(result.entity)
                outcome.report = is_news or not self.is_poll
                self._note_failure(result.entity, outcome, error, is_news=is_news)
                self.log.progress(self.connection, result.entity, result.mode, result.counts, result.cursor_before)
                self.log.entity_ended(
                    self.connection, result.entity, message=outcome.message, error_kind=type(error).__name__
                )
        except Exception as second:  # noqa: BLE001 - the first error is the one to tell
            log.warning("failure not noted", tenant=self.log.tenant, because=type(second).__name__)
        return outcome

    def _note_failure(self, entity: str, outcome: EntityOutcome, error: Exception, *, is_news: bool) -> None:
        since = {"failing_since": cursors.NOW} if is_news else {}
        failure = {"last_failed_at": cursors.NOW, "failure": outcome.message, "failure_kind": type(error).__name__}
        cursors.save(self.connection, self.credential_id, entity, **failure, **since)

    def _failed_before(self, name: str) -> bool:
        return cursors.load(self.connection, self.credential_id, name).last_failed_at is not None
