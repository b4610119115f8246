"""Test a tenant's credentials against ServiceTitan: what they may read, or what is wrong and whom to ask for what.

Here: `test_credentials`, what it reports and what it stores; `diagnose`, for keys that are not stored yet. Not here:
why ServiceTitan refuses (refusal). Works without Dagster; takes no lease, as it asks for one record per entity.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine

from st_pipeline.entities import LISTS
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import (
    AccessRefused,
    InvalidCredentials,
    OAuthHandshakeFailed,
    PermanentApiError,
    PipelineError,
    RateLimitExceeded,
    ScopeMissing,
    ServiceUnavailable,
    TokenRefreshFailed,
    UnclearRefusal,
)
from st_pipeline.postgres.database import main_engine, transaction
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.pages import count
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication, Token
from st_pipeline.settings import Environment, Settings, load_settings
from st_pipeline.tenants import audit, store
from st_pipeline.tenants.refusal import (
    ADMINISTRATOR,
    APP_ACCESS,
    APP_OWNER,
    TIMEOUT_SECONDS,
    Finding,
    Verdict,
    why_no_answer,
    why_no_token,
    why_refused,
)

MAX_ATTEMPTS = 2  # somebody is waiting
LONGEST_WAIT_SECONDS = 5.0
NOT_ASKED = "not asked"

# They say nothing about the credentials: the network, an outage, a limit. The stored status stays as it is.
INCONCLUSIVE = frozenset({Verdict.UNREACHABLE, Verdict.BUSY, Verdict.NO_TOKEN, Verdict.UNEXPECTED})


@dataclass(frozen=True, slots=True)
class EntityAccess:
    """May the tenant's records of one entity be read? `granted` None: unknown. `rows`: how many there are.

    `entity`: the entity's name or, where it consists of several lists, the list's.
    """

    entity: str
    scope: str
    granted: bool | None
    rows: int | None
    status: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a test found. `connected`: something can be read; `complete`: everything can.

    `message` says what to do next, and holds no secret. `tested_at` is timezone-aware.
    """

    tenant: str
    environment: Environment
    tenant_id: int
    connected: bool
    complete: bool
    verdict: Verdict
    message: str
    tested_at: datetime
    entities: tuple[EntityAccess, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON, except `tested_at`, which stays a datetime."""
        return {**asdict(self), "verdict": self.verdict.value, "entities": [asdict(e) for e in self.entities]}


def test_credentials(
    tenant: str,
    *,
    settings: Settings | None = None,  # noqa: PT028 - not a test of pytest's
    engine: Engine | None = None,  # noqa: PT028
) -> Diagnosis:
    """Ask ServiceTitan what the tenant's credentials may read, and store the result: status, message, audit trail.

    `tenant` is a partition key. Without `settings` they are loaded, without an `engine` one is opened. Raises
    ConfigurationError (an unknown tenant, a secret that cannot be decrypted) and DatabaseUnavailable. A refusal by
    ServiceTitan is not an error but the result.
    """
    settings = settings or load_settings()
    with main_engine(settings, engine) as opened:
        with transaction(opened, f"load the credentials of tenant {tenant}") as connection:
            found = store.find_tenant(connection, tenant)
            authentication = store.load_authentication(connection, settings, tenant)
        tokens = NewTokens(store.PostgresTokenStore(opened, settings, found))
        diagnosis = diagnose(authentication, settings, tokens)
        with transaction(opened, f"note the test of tenant {tenant}") as connection:
            note(connection, found.credential_id, diagnosis)
    return diagnosis


test_credentials.__test__ = False  # type: ignore[attr-defined]  # or pytest would collect it as a test


class NewTokens:
    """A token store that gives no stored token, so that the secret is tested, but stores the new one for others.

    `shared` None: the keys are not stored yet; whoever stores them stores the token, too.
    """

    def __init__(self, shared: store.PostgresTokenStore | None = None) -> None:
        self._shared = shared
        self.token: Token | None = None

    def load(self) -> Token | None:
        """None: the stored token may be valid for longer than the secret that it came from."""
        return None

    def save(self, token: Token | None) -> None:
        """Remember the token, and share it."""
        self.token = token
        if self._shared is not None:
            self._shared.save(token)

    def keys(self) -> None:
        """None: the keys given are the ones to test."""


def diagnose(authentication: TenantAuthentication, settings: Settings, tokens: NewTokens) -> Diagnosis:
    """Ask ServiceTitan what `authentication` may read; nothing is stored."""
    patient = settings.model_copy(
        update={
            "max_attempts": MAX_ATTEMPTS,
            "retry_max_seconds": min(settings.retry_max_seconds, LONGEST_WAIT_SECONDS),
            "request_timeout_seconds": min(settings.request_timeout_seconds, TIMEOUT_SECONDS),
        }
    )
    entities: list[EntityAccess] = []
    errors: list[tuple[EntitySpec, PipelineError]] = []
    with ServiceTitanClient(authentication, patient, store=tokens) as client:
        for spec in LISTS.values():
            granted = any(entity.granted for entity in entities)
            if errors and _holds_for_all(errors[-1][1], granted=granted):
                entities.append(EntityAccess(spec.name, spec.scope, None, None, NOT_ASKED))
                continue
            try:
                entities.append(
                    EntityAccess(spec.name, spec.scope, granted=True, rows=count(client, spec), status="ok")
                )
            except PipelineError as error:
                errors.append((spec, error))
                entities.append(_refused_entity(spec, error))
    connected = any(entity.granted for entity in entities)
    verdict, message = _some(entities) if connected else _none(authentication, settings, tokens.token, errors)
    return Diagnosis(
        tenant=authentication.tenant,
        environment=authentication.environment,
        tenant_id=authentication.servicetitan_tenant_id,
        connected=connected,
        complete=verdict is Verdict.COMPLETE,
        verdict=verdict,
        message=message,
        tested_at=datetime.now(UTC),
        entities=tuple(entities),
    )


def _holds_for_all(error: PipelineError, *, granted: bool) -> bool:
    """Would the next entity fail the same way? A host that does not answer is not asked for every entity."""
    if isinstance(error, InvalidCredentials | OAuthHandshakeFailed | TokenRefreshFailed):
        return True
    return isinstance(error, ServiceUnavailable | RateLimitExceeded) and not granted


def _refused_entity(spec: EntitySpec, error: PipelineError) -> EntityAccess:
    granted: bool | None = False
    match error:
        case ScopeMissing():
            status = "scope missing"
        case AccessRefused() | UnclearRefusal():
            status = "refused"
        case PermanentApiError():
            status = f"HTTP {error.status}"
        case InvalidCredentials() | TokenRefreshFailed() | OAuthHandshakeFailed():
            status = "no access"
        case RateLimitExceeded():
            granted, status = None, "too many requests"
        case ServiceUnavailable():
            granted, status = None, "no answer"
        case _:
            granted, status = None, "unexpected answer"
    return EntityAccess(spec.name, spec.scope, granted, None, status)


def _some(entities: list[EntityAccess]) -> Finding:
    """Something can be read: is it everything?"""
    missing = [entity for entity in entities if entity.status == "scope missing"]
    refused = [entity for entity in entities if entity.granted is False and entity not in missing]
    unknown = [entity for entity in entities if entity.granted is None]
    if not missing and not refused and not unknown:
        return Verdict.COMPLETE, f"ServiceTitan accepts the credentials; all {len(entities)} entities can be read"
    sentences = []
    if missing:
        sentences.append(f"Scopes are missing for {_names(missing)}. {_ask_for(missing)}")
    if refused:
        sentences.append(
            f"Refused: {_names(refused)}. Ask {ADMINISTRATOR} whether the app may read them ({APP_ACCESS})"
        )
    if unknown:
        sentences.append(f"No usable answer: {_names(unknown)}. Test again in a few minutes")
    return Verdict.INCOMPLETE, ". ".join(sentences)


def _none(
    authentication: TenantAuthentication,
    settings: Settings,
    token: Token | None,
    errors: list[tuple[EntitySpec, PipelineError]],
) -> Finding:
    """Nothing can be read: why? The test ends at an error that holds for all entities, so the last one decides."""
    error = errors[-1][1]
    if isinstance(error, InvalidCredentials):
        return why_no_token(authentication, settings)
    if all(isinstance(each, ScopeMissing) for _, each in errors):
        every = [_refused_entity(*each) for each in errors]
        return Verdict.NO_SCOPE, f"The keys are good, but the app has none of the scopes. {_ask_for(every)}"
    # ServiceTitan: the body of a 401 is not documented. A person who waits for the test is told the likely reason.
    refused = [spec for spec, each in errors if each.refuses_tenant or isinstance(each, TokenRefreshFailed)]
    if token is not None and refused:
        return why_refused(authentication, settings, token, refused[0])
    return why_no_answer(authentication, error, has_token=token is not None)


def _names(entities: list[EntityAccess]) -> str:
    return ", ".join(entity.entity for entity in entities)


def _ask_for(missing: list[EntityAccess]) -> str:
    scopes = ", ".join(sorted({entity.scope for entity in missing}))
    return (
        f"Ask {APP_OWNER} to add {scopes} to it. That makes a new version of the app, which {ADMINISTRATOR} must then "
        f"accept ({APP_ACCESS})"
    )


def note(connection: Connection, credential_id: int, diagnosis: Diagnosis) -> None:
    """Store status, message and a row of the audit trail, in the caller's transaction."""
    result: audit.Result = "done"
    if diagnosis.connected:
        store.mark_connected(connection, credential_id, None if diagnosis.complete else diagnosis.message)
    elif diagnosis.verdict in INCONCLUSIVE:
        result = "failed"
        store.mark_inconclusive(connection, credential_id, diagnosis.message)
    else:
        result = "refused"
        store.mark_error(connection, credential_id, diagnosis.message)
    details = {
        "verdict": diagnosis.verdict.value,
        "readable": sum(entity.granted is True for entity in diagnosis.entities),
        "entities": len(diagnosis.entities),
    }
    audit.record(
        connection, "credentials.test", tenant=diagnosis.tenant, credential_id=credential_id, result=result,
        details=details,
    )  # fmt: skip
