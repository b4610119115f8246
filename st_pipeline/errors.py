"""The errors of st-pipeline, sorted by what happens next.

    PipelineError
    ├── ConfigurationError            a person fixes a setting, a file or a command; exit code 2
    ├── AuthError                     a person fixes a credential, an app or a scope
    │   ├── InvalidCredentials        ServiceTitan does not know the client id or secret
    │   ├── OAuthHandshakeFailed      the token address answered with something that is not a token
    │   ├── TokenRefreshFailed        a fresh token is refused by the API
    │   ├── AccessRefused             the app key is wrong or the tenant has not connected the app
    │   ├── UnclearRefusal            a 403 without ServiceTitan's own error body
    │   └── ScopeMissing              the app lacks the scope of one entity
    ├── TransientApiError             the client retries in seconds, the next run in minutes
    │   ├── RateLimitExceeded         429, with the wait it asks for, if any
    │   └── ServiceUnavailable        5xx, a broken connection, a timeout
    ├── PermanentApiError             retrying the same request cannot help
    │   ├── AddressUnknown            the gateway's 404, which also answers for an app that is not connected
    │   └── CursorRejected            a stored feed token is refused: start again from a date
    ├── DataMappingError              the data is not what the contract says
    │   └── InvalidApiResponseFormat  a body that is not a page (the client retries first: bodies get truncated)
    ├── NotTried                      an entity it depends on failed in the same sync
    ├── DeletionRefused               a sync would mark too large a share of rows as deleted
    ├── TenantBusy                    another run works on the tenant
    ├── LeaseLost                     another run took the tenant over: stop without writing
    ├── SyncStopped                   a person or a time limit ended the sync: the next one continues from there
    ├── OutOfTime                     a tenant or a run used up its time: the next sync continues from there
    ├── DagsterSilent                 Dagster's webserver does not answer a command, which asks again
    ├── DatabaseUnavailable           Postgres cannot be reached; the run is retried
    │   └── DatabaseFull              its disk is full: a person frees space
    └── DatabaseRefused               Postgres refuses a row that passed our checks

Here: the classes, their one-line meaning, and which of them a retry can help. Not here: how often anything is retried.
A message says what was being done, for which tenant, entity and page, and what to do next; it never holds a secret,
a token or a customer's record.
"""

import traceback
from typing import ClassVar, TypeVar

from st_pipeline.plain_text import plain

E = TypeVar("E", bound=BaseException)


class PipelineError(Exception):
    """Base of everything st-pipeline raises on purpose.

    `retry_helps`: could the same work succeed in a few minutes? `ends_tenant`: would every further entity of the tenant
    fail the same way? `stops_dependents`: are records missing that other entities need? `refuses_tenant`: does
    ServiceTitan itself, and not a proxy, say that the tenant's keys or app give no access? A tenant whose whole sync is
    refused like that is suspended.
    """

    retry_helps: ClassVar[bool] = False
    ends_tenant: ClassVar[bool] = False
    stops_dependents: ClassVar[bool] = True
    refuses_tenant: bool = False

    def __init__(self, message: str) -> None:
        """`message` may quote text from outside, and is printed to logs and terminals."""
        super().__init__(plain(message))


def retry_may_help(kind: str) -> bool:
    """Could the work that ended with an error of this class succeed in a few minutes? Not where it is a bug of ours."""
    waiting = [PipelineError]
    while waiting:
        one = waiting.pop()
        if one.__name__ == kind:
            return one.retry_helps
        waiting += one.__subclasses__()
    return False


class ConfigurationError(PipelineError):
    """A setting, a file, a name or a command is wrong; the message says which and what to do."""


class AuthError(PipelineError):
    """ServiceTitan refuses this tenant's credentials or rights."""

    ends_tenant = True


class InvalidCredentials(AuthError):
    """The token address answered `invalid_client` or `unauthorized_client`: wrong client id, secret or environment."""

    refuses_tenant = True


class OAuthHandshakeFailed(AuthError):
    """The token address answered with neither a token nor a known refusal: the keys may be right."""


class TokenRefreshFailed(AuthError):
    """401 to a token that was fetched a moment ago. `refuses_tenant`: the body is ServiceTitan's own."""

    def __init__(self, message: str, *, refuses_tenant: bool) -> None:
        super().__init__(message)
        self.refuses_tenant = refuses_tenant


class AccessRefused(AuthError):
    """401 or 403 despite a new token: a wrong app key, or an app the tenant has not connected."""

    ends_tenant = False  # some apps are refused one entity and may read all others
    refuses_tenant = True


class UnclearRefusal(AuthError):
    """403 without ServiceTitan's own error body: it may come from a proxy, a firewall or an outage page."""

    ends_tenant = False


class ScopeMissing(AuthError):
    """403 `Scope validation failed`: the app, or the version the tenant accepted, lacks the entity's scope."""

    ends_tenant = False


class TransientApiError(PipelineError):
    """The same request may succeed later."""

    retry_helps = True


class RateLimitExceeded(TransientApiError):
    """429. `wait_seconds`: what the header or the body's title asks for; None when neither does."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class ServiceUnavailable(TransientApiError):
    """A 5xx response, a broken connection or a timeout. `wait_seconds`: from a `Retry-After` header."""

    def __init__(self, message: str, wait_seconds: float | None = None) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class PermanentApiError(PipelineError):
    """The API refuses the request itself. `status` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AddressUnknown(PermanentApiError):
    """404 with the gateway's own body. ServiceTitan: a tenant that has not connected the app gets it, too."""

    refuses_tenant = True


class CursorRejected(PermanentApiError):
    """An export feed refuses the stored `continueFrom`."""


class DataMappingError(PipelineError):
    """The data is not what the contract says. A single bad record raises nothing: it becomes a reject."""


class InvalidApiResponseFormat(DataMappingError):
    """A response with status 200 whose body is not a page of records."""

    retry_helps = True


class NotTried(PipelineError):
    """An entity was not read, because one that it depends on failed in the same sync."""


class DeletionRefused(PipelineError):
    """The deletion guard refused to mark so large a share of rows as deleted. Every record was read and written."""

    stops_dependents = False


class TenantBusy(PipelineError):
    """Another run holds the tenant's lease."""

    retry_helps = True


class LeaseLost(PipelineError):
    """Another run has taken the tenant's lease."""

    retry_helps = True
    ends_tenant = True


class SyncStopped(PipelineError):
    """The sync was asked to end; the message says by whom or why. Committed chunks stay."""

    ends_tenant = True


class OutOfTime(PipelineError):
    """A tenant or a run has used up its time; the message says which. Committed chunks stay."""

    retry_helps = True
    ends_tenant = True


class DagsterSilent(PipelineError):
    """Dagster's webserver does not answer, or something else answers in its place. Dagster's runs may be running."""

    retry_helps = True


class DatabaseUnavailable(PipelineError):
    """Postgres cannot be reached, or it closed the connection."""

    retry_helps = True
    ends_tenant = True


class DatabaseFull(DatabaseUnavailable):
    """The disk of Postgres is full. The next poll tries again; a retry within a minute would not help."""

    retry_helps = False


class DatabaseRefused(PipelineError):
    """A table's constraint or type refuses a row that passed our checks. Postgres's message would quote the row."""


def without_frames(error: E) -> E:
    """The error without its frames, so that it can be kept: their variables would hold whole pages in memory."""
    one: BaseException | None = error
    while one is not None:
        traceback.clear_frames(one.__traceback__)
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error
