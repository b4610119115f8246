"""Replay: prepare and write rejected records again, from their bytes, without asking ServiceTitan.

Here: which of them are tried, what is older than what we hold, the lease and the log around it. Not here: preparing and
writing a chunk: those are a sync's own (sync/, postgres/), or a replay would prove nothing.
"""

import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, cast

from sqlalchemy import Connection, Engine

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import PipelineError
from st_pipeline.operations import rejects
from st_pipeline.operations.rejects import HeldRow, RejectFilter, StoredReject
from st_pipeline.postgres import cursors, leases, stream_pending
from st_pipeline.postgres.database import database_errors
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog, close_abandoned
from st_pipeline.protocol import Mode
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.settings import Settings
from st_pipeline.streams import STREAMS
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext, EntityResult, StreamContext
from st_pipeline.sync.entity import write_batch
from st_pipeline.sync.prepare import Reading
from st_pipeline.sync.stream import build_stream
from st_pipeline.tenants.store import Tenant
from st_pipeline.validation.chunk import validate_chunk
from st_pipeline.validation.decode import read_head, read_id, without_nul


@dataclass(slots=True)
class Replayed:
    """What became of rejects of one entity or stream. `older`: dropped, as a newer version is held or it is deleted."""

    name: str
    tried: int = 0
    passed: int = 0
    older: int = 0
    still_failing: int = 0


@dataclass(slots=True)
class _Replay:
    """The replay of one tenant's rejects, under its lease."""

    tenant: Tenant
    settings: Settings
    connection: Connection
    lease: Lease
    log: SyncLog
    chosen: RejectFilter
    results: list[Replayed] = field(default_factory=list)


def replay(
    engine: Engine, settings: Settings, tenant: Tenant, *, names: Collection[str] = (), keys: Collection[str] = ()
) -> list[Replayed]:
    """Try a tenant's open rejects again; those that pass leave sync_rejects. `keys`: also dismissed ones.

    Raises TenantBusy, DatabaseUnavailable. What was written before stays.
    """
    chosen = RejectFilter(
        credential_ids=(tenant.credential_id,), names=names, keys=keys, dismissed=None if keys else False
    )  # fmt: skip
    doing = f"replay of rejects of tenant {tenant.partition_key}"
    with database_errors(doing), engine.connect() as connection:
        with _leased(connection, settings, tenant, chosen) as work:
            for name in (*LISTS, *STREAMS):
                _replay_one(work, name)
        return work.results


@contextmanager
def _leased(connection: Connection, settings: Settings, tenant: Tenant, chosen: RejectFilter) -> Iterator[_Replay]:
    """The tenant's lease and a row of the sync log, for the block."""
    sync_id = uuid.uuid4()
    lease = leases.take_or_wait(
        connection,
        tenant.credential_id,
        tenant.partition_key,
        "replay of rejects",
        settings.lease_seconds,
        sync_id=sync_id,
        wait_seconds=settings.lease_wait_seconds,
    )
    of = ", ".join(chosen.names) or "all"
    log = SyncLog(
        tenant.credential_id, tenant.partition_key, sync_id, "manual", Mode.WINDOW, f"rejects of {of}", derived=STREAMS
    )
    message: str | None = "stopped"
    try:
        with connection.begin():
            close_abandoned(connection, tenant.credential_id)
        yield _Replay(tenant, settings, connection, lease, log, chosen)
        message = None
    except PipelineError as error:
        message = str(error)
        raise
    finally:
        _close(connection, log, lease, message)


def _close(connection: Connection, log: SyncLog, lease: Lease, message: str | None) -> None:
    try:
        if connection.in_transaction():
            connection.rollback()
        with connection.begin():
            if log.id is not None:
                log.ended(connection, message, {})
            lease.release(connection)
    except Exception:  # noqa: BLE001 - the first error is the one to tell; the next sync closes the log's row
        connection.invalidate()  # a pooled connection that lives on would hold the tenant's lease


def _replay_one(work: _Replay, name: str) -> None:
    if work.chosen.names and name not in work.chosen.names:
        if name in STREAMS:
            _build(work, name)  # what was written above may have renewed its records
        return
    result = Replayed(name)
    last_id, size = 0, work.settings.rows_per_chunk
    one = RejectFilter(
        credential_ids=work.chosen.credential_ids,
        names=(name,),
        keys=work.chosen.keys,
        dismissed=work.chosen.dismissed,
    )
    while True:
        with work.connection.begin():
            kept = rejects.chunk(work.connection, one, last_id, size)
        if not kept:
            break
        last_id = kept[-1].id
        result.tried += len(kept)
        if name in STREAMS:
            _let_wait(work, name, kept)
        else:
            _write(work, LISTS[name], kept, result)
    if name in STREAMS:
        _build(work, name)
        if result.tried:
            with work.connection.begin():
                result.still_failing = rejects.number(work.connection, one)
            result.passed = result.tried - result.still_failing
    if result.tried:
        work.results.append(result)


def _write(work: _Replay, spec: EntitySpec, kept: list[StoredReject], result: Replayed) -> None:
    """One chunk: note why some still fail, drop what is older than what we hold, write the rest as a sync would."""
    valid = validate_chunk(spec, [one.record for one in kept])
    failing = {reject.record: reject.reasons for reject in valid.rejects}
    fails = [one for one in kept if _reasons(failing, one) is not None]
    good = [one for one in kept if _reasons(failing, one) is None]
    ids = {one.id: read_id(without_nul(one.record)[0]) for one in good}
    asked = [st_id for st_id in ids.values() if st_id is not None]
    with work.connection.begin():
        held = rejects.held_rows(work.connection, spec, work.tenant.credential_id, asked)
    older = [one for one in good if _is_older(one, held.get(ids[one.id] or 0))]
    with work.connection.begin():
        work.lease.extend(work.connection)
        for one in fails:
            rejects.still_fails(work.connection, one.id, _reasons(failing, one) or ())
        rejects.forget(work.connection, [one.id for one in older])
    newer = [one for one in good if one not in older]
    refused = _write_rows(work, spec, newer) if newer else 0
    result.older += len(older)
    result.still_failing += len(fails) + refused
    result.passed += len(newer) - refused


def _reasons(failing: dict[bytes, tuple[str, ...]], one: StoredReject) -> tuple[str, ...] | None:
    """Why it fails; a reject found by its bytes, cleaned or as kept."""
    return failing.get(one.record, failing.get(without_nul(one.record)[0]))


def _is_older(kept: StoredReject, held: HeldRow | None) -> bool:
    """Is the row that we hold the truth of a later moment?

    A record says when it was modified; where one of the two does not, what was seen later counts. A row that
    was marked as deleted after the record was seen stays so.
    """
    if held is None:
        return False
    if held.deleted_at is not None and held.deleted_at > kept.last_seen_at:
        return True
    head = read_head(kept.record)
    if head is not None and head.modified_on is not None and held.modified_on is not None:
        return head.modified_on < held.modified_on
    return held.local_synced_at > kept.last_seen_at


def _write_rows(work: _Replay, spec: EntitySpec, kept: list[StoredReject]) -> int:
    """Prepare and write them as a sync would. Returns how many Postgres refused."""
    entity = next(entity for entity in ENTITIES.values() if spec in entity.read_as)
    order = EntityContext(
        spec=spec,
        client=cast("ServiceTitanClient", Nobody()),
        whole=None if entity is spec else EntityResult(entity.name, Mode.WINDOW),
        **_common(work),
    )
    write_batch(Reading(order), Batch([one.record for one in kept], pages=1))
    with work.connection.begin():
        # Rejects under a hash of their bytes: they have an id now, under which they were written or rejected again.
        rejects.forget(work.connection, [one.id for one in kept if one.st_id is None])
        work.log.entity_ended(work.connection, order.entity)
    return order.result.counts.failed


def _let_wait(work: _Replay, stream: str, kept: list[StoredReject]) -> None:
    """A stream's record is made anew from the tables: its bytes are only what it would have been."""
    with work.connection.begin():
        keys = [one.st_id for one in kept if one.st_id is not None]
        stream_pending.put(work.connection, work.tenant.credential_id, stream, keys)


def _build(work: _Replay, stream: str) -> None:
    with work.connection.begin():
        begun = cursors.load(work.connection, work.tenant.credential_id, stream).last_full_at is not None
    if not begun:
        return  # its first build takes every row anyway
    order = StreamContext(stream=STREAMS[stream], **{**_common(work), "mode": Mode.INCREMENTAL, "quiet": True})
    build_stream(order)
    if work.log.id is not None:
        with work.connection.begin():
            work.log.entity_ended(work.connection, stream)


def _common(work: _Replay) -> dict[str, Any]:
    return {
        "tenant": work.tenant.partition_key,
        "credential_id": work.tenant.credential_id,
        "connection": work.connection,
        "lease": work.lease,
        "log": work.log,
        "settings": work.settings,
        "mode": Mode.WINDOW,  # moves no cursor, and asks nobody whether a record is gone
    }


class Nobody:
    """In the API client's place: a replay has nothing to ask."""

    def __getattr__(self, name: str) -> NoReturn:
        raise PipelineError(f"a replay of rejects asks ServiceTitan nothing, and yet wanted to {name}")
