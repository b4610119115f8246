"""The errors of st-pipeline, sorted by what happens next.

    PipelineError
    ├── ConfigurationError            a person mends a setting, a file or a command; exit code 2
    ├── AuthError                     a person fixes a credential, an app or a scope
    │   ├── InvalidCredentials        ServiceTitan does not know the client id or secret
    │   ├── OAuthHandshakeFailed      the token address answered something that is no token
    │   ├── TokenRefreshFailed        a fresh token is refused by the API
    │   ├── AccessRefused             the app key is wrong or the tenant has not connected the app
    │   ├── UnclearRefusal            a 403 that does not read like ServiceTitan's own
    │   └── ScopeMissing              the app lacks the scope of one entity
    ├── TransientApiError             the client retries in seconds, the next run in minutes
    │   ├── RateLimitExceeded         429, with the wait where one was stated
    │   └── ServiceUnavailable        5xx, a broken connection, a timeout
    ├── PermanentApiError             retrying the same request cannot help
    │   ├── AddressUnknown            the gateway's 404, which also answers for an app that is not connected
    │   └── CursorRejected            a stored feed token is refused: start again from a date
    ├── DataMappingError              the data is not what the contract says
    │   └── InvalidApiResponseFormat  a body that is no page (retried by the client first: bodies get cut)
    ├── NotTried                      an entity it depends on failed in the same sync
    ├── DeletionRefused               a sync would mark too large a share of rows as deleted
    ├── TenantBusy                    another run works on the tenant
    ├── LeaseLost                     another run took the tenant over: stop without writing
    ├── SyncStopped                   a person or a time limit ended the sync: the next one goes on from there
    ├── OutOfTime                     the time of a tenant or a run is over: the next sync goes on from there
    ├── DagsterSilent                 Dagster's webserver does not answer a command: it is asked again
    ├── DatabaseUnavailable           Postgres cannot be reached; the run is retried
    │   └── DatabaseFull              its disk is full: a person frees space
    └── DatabaseRefused               Postgres refuses a row by a rule that our checks do not know

Here: the classes, their one-line meaning, which of them a retry can help, and how one is kept. Not here: how often
anybody retries.
A message says what was being done, for which tenant, entity and page, and what to do next; it never holds a secret,
a token or a customer's record.
"""

import traceback
from typing import ClassVar, TypeVar

from st_pipeline.plain_text import plain

E = TypeVar("E", bound=BaseException)


class PipelineError(Exception):
    """Base of everything st-pipeline raises on purpose.

    `retry_helps`: could the same work succeed in some minutes? `ends_tenant`: would every further entity of the tenant
    fail the same way? `stops_dependents`: are records missing that other entities mean nothing without?
    `refuses_tenant`: does ServiceTitan itself say, in its own words, that the tenant's keys or app
    open nothing here? When everything that was asked for is refused so, the tenant is suspended.
    """

    retry_helps: ClassVar[bool] = False
    ends_tenant: ClassVar[bool] = False
    stops_dependents: ClassVar[bool] = True
    refuses_tenant: bool = False

    def __init__(self, message: str) -> None:
        """`message` may quote what somebody else wrote; it ends in logs and terminals."""
        super().__init__(plain(message))


class ConfigurationError(PipelineError):
    """A setting, a file, a name or a command is wrong; the message says which and what to do."""


class AuthError(PipelineError):
    """ServiceTitan refuses this tenant's credentials or rights."""

    ends_tenant = True


class InvalidCredentials(AuthError):
    """The token address answered `invalid_client` or `unauthorized_client`: wrong client id, secret or environment."""

    refuses_tenant = True


class OAuthHandshakeFailed(AuthError):
    """The token address answered something that is neither a token nor a known refusal: the keys may be right."""


class TokenRefreshFailed(AuthError):
    """401 to a token that was fetched a moment ago. `refuses_tenant`: in ServiceTitan's own words."""

    def __init__(self, message: str, *, refuses_tenant: bool) -> None:
        super().__init__(message)
        self.refuses_tenant = refuses_tenant


class AccessRefused(AuthError):
    """401 or 403 that a new token does not mend: app key, or an app the tenant has not connected."""

    ends_tenant = False  # some apps get it for one entity with everything else in order; the others tell
    refuses_tenant = True


class UnclearRefusal(AuthError):
    """403 without ServiceTitan's own error body: a proxy, a firewall or an outage page may have spoken."""

    ends_tenant = False


class ScopeMissing(AuthError):
    """403 `Scope validation failed`: the app, or the version the tenant accepted, lacks the entity's scope."""

    ends_tenant = False


class TransientApiError(PipelineError):
    """The API may answer if asked again."""

    retry_helps = True


class RateLimitExceeded(TransientApiError):
    """429. `wait_seconds` is what the header or the body's title asked for, None when neither did."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class ServiceUnavailable(TransientApiError):
    """A 5xx answer, a broken connection or a timeout. `wait_seconds` as a `Retry-After` header asked for it."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class PermanentApiError(PipelineError):
    """The API refuses the request itself. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AddressUnknown(PermanentApiError):
    """404 in the gateway's own words. It also answers so for a tenant that has not connected the app."""

    refuses_tenant = True


class CursorRejected(PermanentApiError):
    """An export feed refuses the stored `continueFrom`."""


class DataMappingError(PipelineError):
    """The data is not what the contract says. One bad record raises nothing: it is kept in sync_rejects."""


class InvalidApiResponseFormat(DataMappingError):
    """An answer with status 200 whose body is no page of records."""

    retry_helps = True


class NotTried(PipelineError):
    """An entity was not asked for, as one that it depends on failed in the same sync."""


class DeletionRefused(PipelineError):
    """A sync found a larger share of rows gone than the guard lets it mark. Every record was read and written."""

    stops_dependents = False


class TenantBusy(PipelineError):
    """Another run holds the tenant's lease."""

    retry_helps = True


class LeaseLost(PipelineError):
    """The tenant's lease expired and another run took it."""

    retry_helps = True
    ends_tenant = True


class SyncStopped(PipelineError):
    """The sync was asked to end; the message says by whom or why. What is committed stays."""

    ends_tenant = True


class OutOfTime(PipelineError):
    """The time that a tenant or a run was given is over; the message says which. What is committed stays."""

    retry_helps = True
    ends_tenant = True


class DagsterSilent(PipelineError):
    """Dagster's webserver does not answer, or something else answers in its place. Its runs may be running."""

    retry_helps = True


class DatabaseUnavailable(PipelineError):
    """Postgres cannot be reached or ended the connection."""

    retry_helps = True
    ends_tenant = True


class DatabaseFull(DatabaseUnavailable):
    """The disk of Postgres is full. The next poll tries again; a retry within the minute would not help."""

    retry_helps = False


class DatabaseRefused(PipelineError):
    """A constraint or type of a table refuses what our own checks let pass; its own words would quote the row."""


def without_frames(error: E) -> E:
    """The error, for keeping. The variables of the frames that it came through hold whole pages while it lives."""
    one: BaseException | None = error
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error
