"""What an error response of ServiceTitan means.

Here: from a status and the documented fields of a body to one of our errors. Not here: sending, retrying, pages.
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
from st_pipeline.servicetitan.transport import Response

SCOPE_TITLE = "Scope validation failed"
REFUSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
RETRYABLE = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY}
# ServiceTitan: 429 {"status":429,"title":"Rate limit is exceeded. Try again in 50 seconds."}
_SECONDS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) second")
_WHOLE_SECONDS = re.compile(r"\s*(\d{1,9})\s*")
_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,49}")
_TRACE = re.compile(r"[A-Za-z0-9:|._-]{1,100}")
_MAX_PARAMETER_ERROR_CHARACTERS = 200


class ErrorBody(msgspec.Struct, rename="camel"):
    """The body of an error. ServiceTitan: six keys, of which gateway errors have only some."""

    title: object = None
    status: object = None
    trace_id: object = None
    errors: object = None

    @classmethod
    def of(cls, body: bytes) -> "ErrorBody":
        """Decode one; empty when the body is HTML, cut off or of another shape."""
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return cls()

    def is_from_servicetitan(self, status: int) -> bool:
        """Did ServiceTitan write this body, and not a proxy or a firewall?

        ServiceTitan: error bodies of the API and of its gateway both have the status and a title.
        """
        return self.status == status and isinstance(self.title, str) and bool(self.title)

    @property
    def trace(self) -> str:
        """` (trace 00-…)`, which ServiceTitan's support asks for; empty when there is none."""
        known = isinstance(self.trace_id, str) and _TRACE.fullmatch(self.trace_id)
        return f" (trace {self.trace_id})" if known else ""

    def parameter_errors(self, sent: Collection[str]) -> str:
        """`, it complains about sort (The value …)`. Other texts than those about `sent` may quote data."""
        if not isinstance(self.errors, dict):
            return ""
        lower_sent = {name.lower() for name in sent}
        named = []
        for name, texts in sorted(self.errors.items()):
            if not _PARAMETER.fullmatch(name):
                continue
            text = texts[0] if isinstance(texts, list) and texts and name.lower() in lower_sent else None
            shown = " ".join(text.split())[:_MAX_PARAMETER_ERROR_CHARACTERS] if isinstance(text, str) else ""
            named.append(f"{name} ({shown})" if shown else name)
        return f", it complains about {', '.join(named)}" if named else ""


def error_for(
    response: Response, doing: str, *, scope: str | None, sent: Collection[str], now: datetime
) -> PipelineError:
    """The error for a response other than 200. `sent`: the names of the request's parameters."""
    error_body, status = ErrorBody.of(response.body), response.status
    what = f"{doing}: HTTP {status}{error_body.trace}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return RateLimitExceeded(
            f"{what}, too many requests; lower ST_PIPELINE_RATE_LIMIT if it happens often",
            retry_after_seconds(response, now),
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRYABLE:
        return ServiceUnavailable(
            f"{what}; ServiceTitan has a problem; the next sync continues from here", retry_after_seconds(response, now)
        )
    if status == HTTPStatus.FORBIDDEN and error_body.title == SCOPE_TITLE:
        return ScopeMissing(
            f"{what}: the app lacks scope {scope or 'for this entity'}. Add it to the app in the developer portal; "
            "then the company's ServiceTitan administrator must accept the app's new version"
        )
    if status in REFUSED:
        return _refusal(what, status, is_from_servicetitan=error_body.is_from_servicetitan(status))
    if status == HTTPStatus.NOT_FOUND and error_body.is_from_servicetitan(status):
        return AddressUnknown(
            f"{what}: ServiceTitan does not know this address for this tenant. Check the tenant id and that the app is "
            "connected; `st-pipeline credentials test` tells more",
            status,
        )
    next_step = "ServiceTitan refuses this request and will refuse it again"
    if status < HTTPStatus.BAD_REQUEST:
        next_step = "that is not a page; check the API address in the settings"
    return PermanentApiError(f"{what}{error_body.parameter_errors(sent)}; {next_step}", status)


def _refusal(what: str, status: int, *, is_from_servicetitan: bool) -> PipelineError:
    if status == HTTPStatus.UNAUTHORIZED:
        return TokenRefreshFailed(
            f"{what} even with a fresh token; check the app key (ST_PIPELINE_APP_KEY). "
            "`st-pipeline credentials test` tells more",
            refuses_tenant=is_from_servicetitan,
        )
    if not is_from_servicetitan:
        return UnclearRefusal(
            f"{what}: refused, but not in a form that ServiceTitan uses. A proxy, a firewall or an outage on the way? "
            "`st-pipeline credentials test` tells more"
        )
    return AccessRefused(
        f"{what}: refused. Check the app key (ST_PIPELINE_APP_KEY), the tenant id, and that the company's "
        "ServiceTitan administrator has connected the app; see `st-pipeline credentials test`"
    )


def retry_after_seconds(response: Response, now: datetime) -> float | None:
    """Seconds to wait, from `Retry-After` (seconds or a date), or else from the title of a 429."""
    header = response.headers.get("retry-after", "")
    if found := _WHOLE_SECONDS.fullmatch(header):
        return float(found[1])
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        title = ErrorBody.of(response.body).title if response.status == HTTPStatus.TOO_MANY_REQUESTS else None
        found = _SECONDS.search(title) if isinstance(title, str) else None
        return float(found[1]) if found else None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # `-0000`: UTC, local offset unknown
    return max(0.0, (aware - now).total_seconds())
