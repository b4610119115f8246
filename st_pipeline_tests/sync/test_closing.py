"""What a whole sync says of the tenant's credential, and what the log and the audit trail keep of it."""

import base64
import os
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline.entities import ENTITIES
from st_pipeline.errors import (
    AccessRefused,
    InvalidCredentials,
    NotTried,
    ScopeMissing,
    ServiceUnavailable,
    UnclearRefusal,
)
from st_pipeline.protocol import Counts, Drift, DriftKind, Mode
from st_pipeline.servicetitan.statistics import RequestStatistics
from st_pipeline.settings import Settings
from st_pipeline.sync import closing
from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration, SyncResult
from st_pipeline.sync.context import EntityResult
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import database_copied
from st_pipeline_tests.tenants.planted import put_tenant

ONE, OTHER, *REST = ENTITIES
STREAM = "members_stream"
REFUSED, WRONG_KEYS, NO_SCOPE = AccessRefused("refused"), InvalidCredentials("wrong keys"), ScopeMissing("no scope")
DOWN, SKIPPED = ServiceUnavailable("503"), NotTried("not tried")
ANOTHER = UnclearRefusal("a proxy's page")


def outcomes(**errors: Exception | None) -> list[EntityOutcome]:
    """By entity, in this order."""
    return [EntityOutcome(name, EntityResult(name, Mode.INCREMENTAL), error) for name, error in errors.items()]


@pytest.fixture(scope="module")
def database(postgres_server: EmbeddedServer) -> Iterator[tuple[Connection, int]]:
    """A tenant that was never asked anything."""
    settings = Settings(encryption_keys=f"1:{base64.b64encode(os.urandom(32)).decode()}")
    with database_copied(postgres_server, TEMPLATE) as engine:
        tenant = put_tenant(engine, settings)
        with engine.connect() as connection:
            yield connection, tenant.credential_id


@pytest.fixture
def tenant(database: tuple[Connection, int]) -> Iterator[tuple[Connection, int]]:
    """The tenant, as it was before each test."""
    connection, _ = database
    with connection.begin() as transaction:
        yield database
        transaction.rollback()


def noted(
    tenant: tuple[Connection, int], said: list[EntityOutcome], resting: tuple[str, ...] = ()
) -> tuple[str, str | None]:
    """Status and message of the credential after such a sync."""
    connection, credential_id = tenant
    closing.note_connection(connection, credential_id, said, resting)
    row = connection.exec_driver_sql("SELECT connection_status, connection_message FROM servicetitan_credentials").one()
    return row[0], row[1]


def all_refused(but: tuple[str, ...] = ()) -> dict[str, Exception | None]:
    """Every entity, refused with everything else in order."""
    return {name: REFUSED for name in ENTITIES if name not in but}


@pytest.mark.parametrize(
    ("errors", "resting", "status", "said"),
    [
        ({ONE: None, OTHER: DOWN}, (), "connected", None),
        ({ONE: None, OTHER: NO_SCOPE}, (), "connected", "no scope"),
        ({ONE: DOWN, OTHER: REFUSED}, (), "pending", None),
        ({ONE: REFUSED, OTHER: SKIPPED}, (), "pending", None),
        (all_refused(), (), "error", "refused"),
        (all_refused(but=(ONE,)), (), "pending", None),
        (all_refused(but=(ONE,)), (ONE,), "error", "refused"),
        (all_refused() | {OTHER: SKIPPED}, (), "error", "refused"),
        (all_refused() | {OTHER: ANOTHER}, (), "pending", None),
        (all_refused() | {STREAM: None}, (), "error", "refused"),
        ({ONE: WRONG_KEYS}, (), "error", "wrong keys"),
        ({STREAM: None}, (), "pending", None),
        ({}, (), "pending", None),
    ],
)
def test_what_a_sync_tells_of_the_credential(
    tenant: tuple[Connection, int],
    errors: dict[str, Exception | None],
    resting: tuple[str, ...],
    status: str,
    said: str | None,
):
    """One entity that was read shows that the keys open it; only a refusal of everything, or of the keys, suspends."""
    assert noted(tenant, outcomes(**errors), resting) == (status, said)


def test_the_first_refusal_is_told_when_all_that_was_asked_for_was_refused():
    assert closing.refusal_of(outcomes(**{ONE: REFUSED, OTHER: WRONG_KEYS, STREAM: None})) is REFUSED
    assert closing.refusal_of(outcomes(**{ONE: REFUSED, OTHER: DOWN})) is None
    assert closing.refusal_of(outcomes(**{ONE: REFUSED, OTHER: ValueError("ours")})) is None
    assert closing.refusal_of(outcomes(**{ONE: REFUSED, OTHER: None})) is None
    assert closing.refusal_of([]) is None


@pytest.mark.parametrize(
    ("sync_type", "is_news", "errors", "expected"),
    [
        ("manual", False, {ONE: None}, ["done"]),
        ("manual", False, {ONE: REFUSED}, ["refused"]),
        ("manual", True, {ONE: DOWN}, ["failed"]),
        ("scheduled", True, {ONE: DOWN}, ["failed"]),
        ("scheduled", False, {ONE: DOWN}, []),
    ],
)
def test_the_audit_trail_has_what_a_person_started_and_failures_that_are_news(
    tenant: tuple[Connection, int],
    sync_type: str,
    is_news: bool,
    errors: dict[str, Exception | None],
    expected: list[str],
):
    connection, credential_id = tenant
    result = SyncResult("acme-plumbing", uuid.UUID(int=5), outcomes=outcomes(**errors))
    result.errors = [str(error) for error in errors.values() if error is not None]
    result.outcomes[0].result.counts = Counts(processed=4)
    configuration = SyncConfiguration(sync_type=sync_type)  # type: ignore[arg-type]
    closing.note_in_the_trail(connection, credential_id, configuration, result, is_news=is_news)
    rows = connection.exec_driver_sql("SELECT result, details FROM audit_log WHERE action = 'sync' ORDER BY id").all()
    assert [row[0] for row in rows] == expected
    for _, details in rows:
        assert details == {
            "mode": "incremental", "type": sync_type, "processed": 4, "sync_id": str(uuid.UUID(int=5)),
        }  # fmt: skip


def test_each_cause_is_told_once_with_the_entities_it_struck():
    """A refused secret strikes every entity with the same sentence."""
    names = list(ENTITIES)[:5]
    result = SyncResult("acme", uuid.UUID(int=5), outcomes=outcomes(**dict.fromkeys(names, REFUSED)))
    result.outcomes.append(EntityOutcome("jobs", EntityResult("jobs", Mode.FULL), NotTried("jobs: not tried")))
    result.outcomes.append(EntityOutcome("estimates", EntityResult("estimates", Mode.FULL)))
    result.errors = [f"{one.entity}: {one.message}" for one in result.outcomes if one.error] + ["out of time"]
    named = ", ".join(names[:3])
    told = f"{named} and 2 more: {REFUSED}; jobs: not tried, as what they need failed; out of time"
    assert closing.message(result) == told
    assert closing.message(SyncResult("acme", uuid.UUID(int=5), outcomes=outcomes(**{ONE: None}))) is None


def test_the_sync_log_s_details_have_what_there_is_to_say_of_each_entity():
    silent, loud = outcomes(**{ONE: None, OTHER: None})
    loud.result.notes = ["went on"]
    loud.result.warnings = Counter({"no customer": 2})
    loud.result.drift = Counter({Drift(DriftKind.NULL, "name"): 1, Drift(DriftKind.UNKNOWN_VALUE, "kind", "x"): 3})
    loud.result.nul_records = 1
    result = SyncResult("acme", uuid.UUID(int=1), outcomes=[silent, loud])
    details = closing.details(result, RequestStatistics())
    assert details.pop("api") == RequestStatistics().as_details()
    assert details == {
        "notes": {OTHER: ["went on"]},
        "warnings": {OTHER: {"no customer": 2}},
        "drift": {OTHER: {"null: name": 1, "unknown value: kind": 3}},
        "records_with_nul": {OTHER: 1},
    }
