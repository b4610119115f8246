"""Replay: prepare and write rejected records again, from their bytes, without asking ServiceTitan.

Here: which of them are tried, what is older than what we hold. Not
here: preparing and writing a chunk: those are a sync's own (sync/, postgres/), or a replay would prove nothing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NoReturn, cast

from sqlalchemy import Connection, Engine

from st_pipeline.entities import ENTITIES, LISTS
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import PipelineError
from st_pipeline.operations import rejects
from st_pipeline.operations.rejects import HeldRow, RejectFilter, StoredReject
from st_pipeline.postgres import stream_pending
from st_pipeline.postgres.database import database_errors
from st_pipeline.protocol import Mode
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.settings import Settings
from st_pipeline.streams import STREAMS
from st_pipeline.sync.batches import Batch
from st_pipeline.sync.context import EntityContext, EntityResult
from st_pipeline.sync.entity import write_batch
from st_pipeline.sync.leased_work import LeasedWork, leased_work
from st_pipeline.sync.prepare import Reading
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

    leased: LeasedWork
    chosen: RejectFilter
    results: list[Replayed] = field(default_factory=list)

    @property
    def connection(self) -> Connection:
        """The one that holds the lease."""
        return self.leased.connection

    @property
    def credential_id(self) -> int:
        """The tenant's."""
        return self.leased.tenant.credential_id


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
    of = ", ".join(chosen.names) or "all"
    with database_errors(doing), engine.connect() as connection:
        with leased_work(connection, settings, tenant, "replay of rejects", f"rejects of {of}") as leased:
            work = _Replay(leased, chosen)
            for name in (*LISTS, *STREAMS):
                _replay_one(work, name)
        return work.results


def _replay_one(work: _Replay, name: str) -> None:
    if work.chosen.names and name not in work.chosen.names:
        if name in STREAMS:
            work.leased.build(name)  # what was written above may have renewed its records
        return
    result = Replayed(name)
    last_id, size = 0, work.leased.settings.rows_per_chunk
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
        work.leased.build(name)
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
        held = rejects.held_rows(work.connection, spec, work.credential_id, asked)
    older = [one for one in good if _is_older(one, held.get(ids[one.id] or 0))]
    with work.connection.begin():
        work.leased.lease.extend(work.connection)
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
        **work.leased.common(),
    )
    write_batch(Reading(order), Batch([one.record for one in kept], pages=1))
    with work.connection.begin():
        # Rejects under a hash of their bytes: they have an id now, under which they were written or rejected again.
        rejects.forget(work.connection, [one.id for one in kept if one.st_id is None])
        work.leased.log.entity_ended(work.connection, order.entity)
    return order.result.counts.failed


def _let_wait(work: _Replay, stream: str, kept: list[StoredReject]) -> None:
    """A stream's record is made anew from the tables: its bytes are only what it would have been."""
    with work.connection.begin():
        keys = [one.st_id for one in kept if one.st_id is not None]
        stream_pending.put(work.connection, work.credential_id, stream, keys)


class Nobody:
    """In the API client's place: a replay has nothing to ask."""

    def __getattr__(self, name: str) -> NoReturn:
        raise PipelineError(f"a replay of rejects asks ServiceTitan nothing, and yet wanted to {name}")
