"""All of a tenant's sync: its entities in their order, under one lease, with one row of the sync log.

Here: the lease, what a failure stops, the log from running to completed or failed. Not here: one entity's path
(entity.py), what may be asked for (configuration.py), Dagster (defs/).
"""

import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import filterfalse
from types import TracebackType
from typing import Any, Self

import structlog
from sqlalchemy import Connection, Engine

from st_pipeline.entities import ENTITIES
from st_pipeline.errors import ConfigurationError, NotTried, OutOfTime, PipelineError, SyncStopped
from st_pipeline.postgres import cursors, leases, stops, switches
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.sync_log import SyncLog, close_abandoned
from st_pipeline.protocol import Counts, Mode
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline, out_of_time, why_ended
from st_pipeline.settings import Settings
from st_pipeline.streams import STREAMS
from st_pipeline.sync import closing, poll_policy
from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration, SyncResult
from st_pipeline.sync.context import EntityContext, EntityResult, StreamContext, Window
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.sync.entity import sync_entity
from st_pipeline.sync.entity_ends import EntityEnds
from st_pipeline.sync.entity_order import OUTAGES_IN_A_ROW, is_outage
from st_pipeline.sync.expected_records import expected_records
from st_pipeline.sync.look import Look
from st_pipeline.sync.stream import build_stream
from st_pipeline.tenants import store

log = structlog.get_logger()


class TenantSync:
    """One tenant's sync: `with TenantSync(...) as sync: for outcome in sync.entities(): ...`, then `sync.result`.

    Entering takes the tenant's lease: raises TenantBusy when another run holds it for longer than `wait_seconds`.
    Leaving closes the sync log, also when the body raised. `first_loads` false: what was never read to its end is
    left out. `without`: the entities to leave out; None: those that are off, if it is a scheduled sync. `look`: what a
    poll has seen of the tenant, whose plan is the sync's.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        tenant: str,
        configuration: SyncConfiguration,
        *,
        sync_id: uuid.UUID | None = None,
        dagster_run_id: str | None = None,
        wait_seconds: float = 0,
        deadline: Deadline = NO_DEADLINE,
        first_loads: bool = True,
        without: Collection[str] | None = None,
        look: Look | None = None,
        after_chunk: Callable[[str, Counts], None] = lambda _entity, _counts: None,
    ) -> None:
        update = {} if configuration.batch_size is None else {"rows_per_chunk": configuration.batch_size}
        self.settings = settings.model_copy(update=update)
        self.engine = engine
        self.configuration = configuration
        self.wait_seconds = wait_seconds
        self.first_loads = first_loads
        self._without = without
        self.look = look
        self.deadline = deadline
        self.after_chunk = after_chunk
        self.result = SyncResult(tenant, sync_id or uuid.uuid4())
        self.doing = f"sync of tenant {tenant}"
        self.is_news = True  # is it, when the tenant cannot be opened?
        self._dagster_run_id = dagster_run_id
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        with database_errors(self.doing):
            self.connection = self.engine.connect()
        try:
            with database_errors(self.doing):
                self._open()
        except BaseException:
            self.connection.invalidate()  # a pooled connection that lives on would hold a lease just taken
            self.connection.close()
            raise
        return self

    def _open(self) -> None:
        with self.connection.begin():
            tenant = store.find_tenant(self.connection, self.result.tenant)
        self.credential_id = tenant.credential_id
        self.lease = leases.take_or_wait(
            self.connection,
            tenant.credential_id,
            self.result.tenant,
            f"{self.configuration.sync_type} {self.configuration.mode} sync",
            self.settings.lease_seconds,
            sync_id=self.result.sync_id,
            wait_seconds=self.wait_seconds,
        )
        self.log = SyncLog(
            tenant.credential_id,
            self.result.tenant,
            self.result.sync_id,
            self.configuration.sync_type,
            self.configuration.mode,
            self.configuration.label,
            self._dagster_run_id,
            derived=STREAMS,
            asked=self.configuration.as_details(),
            started_at=self.look.began_at if self.look is not None else None,
        )
        is_poll = poll_policy.is_poll(self.configuration)
        self.ends = EntityEnds(self.connection, tenant.credential_id, self.log, is_poll)
        try:
            self.client = self._client(tenant)
        except ConfigurationError as error:
            self._note_unusable(error)
            raise
        with self.connection.begin():
            close_abandoned(self.connection, tenant.credential_id)
            known = cursors.load_all(self.connection, [self.credential_id])
            held = {name: cursor for (_, name), cursor in known.items()}
            if self.look is not None:
                self.plan, self.result.unchanged = self.look.plan, self.look.take_over(self.connection, held)
            else:
                self.plan = poll_policy.plan(
                    self.configuration, self.settings, held, first_loads=self.first_loads, without=self._left_out()
                )
            if self.plan.logged:
                self.log.ensure(self.connection)

    def _left_out(self) -> Collection[str]:
        if self._without is None and self.configuration.sync_type == "scheduled":
            return switches.entities_off(self.connection, self.credential_id)
        return self._without or ()

    def _client(self, tenant: store.Tenant) -> ServiceTitanClient:
        """Raises ConfigurationError: a secret does not open, there is no app key, or it cannot be sent."""
        if self.look is not None:
            return self.look.client
        with self.connection.begin():
            authentication = store.load_authentication(self.connection, self.settings, self.result.tenant)
        tokens = store.PostgresTokenStore(self.engine, self.settings, tenant)
        return ServiceTitanClient(authentication, self.settings, store=tokens, deadline=self.deadline)

    def _note_unusable(self, error: ConfigurationError) -> None:
        """A failed row and a status, so that a tenant whose secrets do not open is seen where others are."""
        with self.connection.begin():
            close_abandoned(self.connection, self.credential_id)
            self.is_news = store.mark_unusable(self.connection, self.credential_id, str(error))
            self.result.errors.append(str(error))
            self.log.ended(self.connection, str(error), {})
            self._note_in_the_trail(is_news=self.is_news)
            self.lease.release(self.connection)
        self.result.sync_log_id = self.log.id

    def entities(self, skip: Callable[[str], bool] = lambda _entity: False) -> Iterator[EntityOutcome]:
        """Sync each entity, build each stream, and yield the outcomes.

        What depends on a failed entity is not tried; `skip` is done already.
        """
        failed: dict[str, Exception] = {}
        ends_all: Exception | None = None
        outages = 0
        self.log.expected = self._expected(skip)
        for entity in filterfalse(skip, self.plan.entities):
            if entity in self.result.unchanged:
                outages = 0
                continue
            if self._stops(outages) and not (self.look and self.look.has_settled(entity)):
                continue
            outcome = self._outcome(entity, failed, ends_all)
            if self.result.paused is not None:
                return
            if not isinstance(outcome.error, NotTried):
                outages = outages + 1 if is_outage(outcome.error) else 0
            if outcome.error is not None:
                if not isinstance(outcome.error, PipelineError) or outcome.error.stops_dependents:
                    failed[entity] = outcome.error
                if isinstance(outcome.error, PipelineError) and outcome.error.ends_tenant:
                    ends_all = outcome.error
                self.result.errors.append(f"{entity}: {outcome.message}")
            self.result.outcomes.append(outcome)
            yield outcome
            if isinstance(outcome.error, SyncStopped | OutOfTime):
                return  # what was not begun has not failed

    def _expected(self, skip: Callable[[str], bool]) -> int | None:
        if self.configuration.mode is not Mode.FULL or self.configuration.night is not None:
            return None
        names = [name for name in self.configuration.entities if name not in STREAMS and not skip(name)]
        return expected_records(self.client, names)

    def _stops(self, outages: int) -> bool:
        """Is the rest left for the next sync, but for what a look has settled?"""
        if self.result.stopped is not None:
            return True
        if self.deadline.has_passed and self.configuration.night is not None:
            self.result.paused = out_of_time(self.deadline)
        elif self.deadline.has_passed:
            self.result.stopped = out_of_time(self.deadline)
        elif outages == OUTAGES_IN_A_ROW:
            self.result.stopped = f"{outages} entities in a row got no usable answer; the rest waits for the next sync"
        if self.result.stopped is not None:
            self.result.errors.append(self.result.stopped)
        return self.result.stopped is not None or self.result.paused is not None

    def _outcome(self, entity: str, failed: Mapping[str, Exception], ends_all: Exception | None) -> EntityOutcome:
        """Sync the entity, unless something before it has failed that it cannot do without."""
        after = [name for name in SYNCED[entity].after if name in failed]
        if ends_all is None and not after:
            return self._sync(entity)
        not_tried = NotTried(f"{entity} of tenant {self.result.tenant}: not tried, as {', '.join(after[:1])} failed")
        return self.ends.failed(EntityResult(entity, self.configuration.mode), ends_all or not_tried)

    def _sync(self, name: str) -> EntityOutcome:
        work = self._work(name)
        try:
            result = build_stream(work) if isinstance(work, StreamContext) else sync_entity(work)
        except Exception as error:  # noqa: BLE001 - one entity's failure, ours or not, must not stop the others
            if self._pauses(error):
                return EntityOutcome(name, work.result, error)
            return self.ends.failed(work.result, error)
        return self.ends.succeeded(result)

    def _pauses(self, error: Exception) -> bool:
        """Was it cut off by the end of a run of the night? The next one continues, and nothing has failed."""
        is_cut_off = self.deadline.has_passed and (isinstance(error, OutOfTime) or is_outage(error))
        if self.configuration.night is not None and is_cut_off:
            self.result.paused = out_of_time(self.deadline)
        return self.result.paused is not None

    def _work(self, name: str) -> EntityContext | StreamContext:
        common: dict[str, Any] = {
            "tenant": self.result.tenant,
            "credential_id": self.credential_id,
            "connection": self.connection,
            "lease": self.lease,
            "log": self.log,
            "settings": self.settings,
            "mode": self.configuration.mode,
            "rewrite": self.configuration.rewrite,
            "quiet": name not in self.plan.logged,
            "after_chunk": self.after_chunk,
        }
        if name in STREAMS:
            return StreamContext(stream=STREAMS[name], night=self.configuration.night, **common)
        return EntityContext(
            spec=ENTITIES[name],
            client=self.client,
            window=Window(self.configuration.modified_from, self.configuration.modified_to),
            allow_deletions=self.configuration.allow_deletions,
            night=self.configuration.night,
            looked={} if self.look is None else self.look.looked,
            **common,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.result.seconds = time.monotonic() - self._started
        try:
            self.client.close()
            if self.connection.in_transaction():
                self.connection.rollback()
            with self.connection.begin(), self.log.forgotten_on_rollback():
                if kind is not None:
                    asked = stops.reason(self.connection, self.result.sync_id)
                    self.result.errors.append(asked or why_ended(kind, self.deadline))
                self._close_log(self.connection)
                self.lease.release(self.connection)
        except Exception as second:  # noqa: BLE001 - the next start settles what could not be closed
            log.warning("sync not closed", tenant=self.result.tenant, because=type(second).__name__)
            self.connection.invalidate()  # a pooled connection that lives on would hold the tenant's lease
        finally:
            self.result.sync_log_id = self.log.id
            self.connection.close()

    def _close_log(self, connection: Connection) -> None:
        left_out = set(self.configuration.entities).difference(self.plan.entities)
        closing.note_connection(connection, self.credential_id, self.result.outcomes, left_out, self.result.unchanged)
        if self.log.id is None and self.result.success:
            return
        message = closing.message(self.result)
        self.log.ended(connection, message, closing.details(self.result, self.client.statistics))
        self._note_in_the_trail(is_news=any(one.report for one in self.result.outcomes if one.error is not None))

    def _note_in_the_trail(self, *, is_news: bool) -> None:
        closing.note_in_the_trail(self.connection, self.credential_id, self.configuration, self.result, is_news=is_news)
