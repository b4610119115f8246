"""What an answer of ServiceTitan means: status and documented fields to the error they stand for, in one place.

Here: reading refusals. Not here: sending and unpacking (exchange.py), retrying (client.py), pages (pages.py).
Errors are told apart by status and by documented fields, never by searching texts.
"""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import msgspec

from st_pipeline.errors import (
    AccessRefused,
    AddressUnknown,
    PermanentApiError,
    PipelineError,
    RateLimitExceeded,
    ScopeMissing,
    ServiceUnavailable,
    TokenRefreshFailed,
    UnclearRefusal,
)
from st_pipeline.servicetitan.transport import Answer

SCOPE_TITLE = "Scope validation failed"
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
# ServiceTitan: 429 {"status":429,"title":"Rate limit is exceeded. Try again in 50 seconds."}
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) second")
_WHOLE_SECONDS = re.compile(r"\s*(\d{1,9})\s*")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,49}")
_TRACE = re.compile(r"[A-Za-z0-9:|._-]{1,100}")
_LONGEST_COMPLAINT = 200


class ErrorBody(msgspec.Struct, rename="camel"):
    """What an error's body may tell. ServiceTitan: six keys, of which gateway errors carry only some."""

    title: object = None
    status: object = None
    trace_id: object = None
    errors: object = None

    @classmethod
    def of(cls, body: bytes) -> "ErrorBody":
        """Read one; empty where the body is HTML, cut off or of another shape."""
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return cls()

    def is_servicetitans(self, status: int) -> bool:
        """Is this ServiceTitan's own body for this status? A proxy's page or a firewall's JSON is not.

        ServiceTitan: the API's error bodies and its gateway's both carry the status and a title.
        """
        return self.status == status and isinstance(self.title, str) and bool(self.title)

    @property
    def trace(self) -> str:
        """` (trace 00-…)`, which ServiceTitan's support asks for; empty where there is none."""
        known = isinstance(self.trace_id, str) and _TRACE.fullmatch(self.trace_id)
        return f" (trace {self.trace_id})" if known else ""

    def complaints(self, sent: Collection[str]) -> str:
        """`: sort (The value …)`. The text is shown for parameters that were sent; others might quote data."""
        if not isinstance(self.errors, dict):
            return ""
        ours = {name.lower() for name in sent}
        named = []
        for name, texts in sorted(self.errors.items()):
            if not _PARAMETER.fullmatch(name):
                continue
            text = texts[0] if isinstance(texts, list) and texts and name.lower() in ours else None
            shown = " ".join(text.split())[:_LONGEST_COMPLAINT] if isinstance(text, str) else ""
            named.append(f"{name} ({shown})" if shown else name)
        return f", it complains about {', '.join(named)}" if named else ""


def error_for(answer: Answer, doing: str, *, scope: str | None, sent: Collection[str], now: datetime) -> PipelineError:
    """The error that an answer other than 200 stands for. `sent`: the names of the request's parameters."""
    told, status = ErrorBody.of(answer.body), answer.status
    what = f"{doing}: HTTP {status}{told.trace}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitExceeded(
            f"{what}, too many requests; lower ST_PIPELINE_RATE_LIMIT if it happens often", stated_wait(answer, now)
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRYABLE:
        return ServiceUnavailable(
            f"{what}; ServiceTitan is in trouble, the next sync goes on from here", stated_wait(answer, now)
        )
    if status == HTTPStatus.FORBIDDEN and told.title == SCOPE_TITLE:
        return ScopeMissing(
            f"{what}: the app lacks scope {scope or 'for this entity'}. Add it to the app in the developer portal; "
            "then the company's ServiceTitan administrator must accept the app's new version"
        )
    if status in REFUSED:
        return _refusal(what, status, is_servicetitans=told.is_servicetitans(status))
    if status == HTTPStatus.NOT_FOUND and told.is_servicetitans(status):
        return AddressUnknown(
            f"{what}: ServiceTitan does not know this address for this tenant. Check the tenant id and that the app is "
            "connected; `st-pipeline credentials test` tells more",
            status,
        )
    next_step = "the request is refused and will be again"
    if status < HTTPStatus.BAD_REQUEST:
        next_step = "that is no page; check the API address in the settings"
    return PermanentApiError(f"{what}{told.complaints(sent)}; {next_step}", status)


def _refusal(what: str, status: int, *, is_servicetitans: bool) -> PipelineError:
    if status == HTTPStatus.UNAUTHORIZED:
        return TokenRefreshFailed(
            f"{what} even with a fresh token; check the app key (ST_PIPELINE_APP_KEY). "
            "`st-pipeline credentials test` tells more",
            refuses_tenant=is_servicetitans,
        )
    if not is_servicetitans:
        return UnclearRefusal(
            f"{what}: refused, but not in ServiceTitan's words. A proxy, a firewall or an outage on the way? "
            "`st-pipeline credentials test` tells more"
        )
    return AccessRefused(
        f"{what}: refused. Check the app key (ST_PIPELINE_APP_KEY), the tenant id, and that the company's "
        "ServiceTitan administrator has connected the app; see `st-pipeline credentials test`"
    )


def stated_wait(answer: Answer, now: datetime) -> float | None:
    """Seconds to wait as `Retry-After` says (seconds or a date), else as the title of a 429 does."""
    header = answer.headers.get("retry-after", "")
    if found := _WHOLE_SECONDS.fullmatch(header):
        return float(found[1])
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        title = ErrorBody.of(answer.body).title if answer.status == HTTPStatus.TOO_MANY_REQUESTS else None
        found = _SECONDS.search(title) if isinstance(title, str) else None
        return float(found[1]) if found else None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # `-0000`: UTC from who knows where
    return max(0.0, (aware - now).total_seconds())
