"""The gate in front of Dagster's UI: it refuses what a foreign web page makes a browser send.

Here: the rules for a request's method, path and headers, for HTTP and websockets alike. Not here: who the user is (the
UI has no login), and the UI itself (`server`).

Dagster's own server executes GraphQL mutations sent by GET, or by POST as `text/plain`, which any page on the web may
send to any address; it checks neither Host nor Origin. Programs other than browsers send no Origin, and pass.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
GRAPHQL_PATH = "/graphql"
# Headers that the rules read. If one came twice, the gate and the app behind it might read different values.
DECISIVE = ("host", "origin", "sec-fetch-site", "content-type", "accept")
HOST = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?::[0-9]{1,5})?")
CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
POLICY_VIOLATION = 1008  # the websocket close code; before the handshake is done, the browser gets a 403
# No other site may show the UI in a frame (clickjacking), or embed what it serves.
RESPONSE_HEADERS = (
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"content-security-policy", b"frame-ancestors 'self'"),
    (b"cross-origin-resource-policy", b"same-origin"),
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused, and the HTTP status of the response."""

    status: int
    reason: str


class Gate:
    """An ASGI app around another one."""

    def __init__(self, app: ASGIApp, host_names: Collection[str]) -> None:
        """`host_names`: the names under which browsers reach the app, besides this machine's loopback names."""
        self._app = app
        self._host_names = LOOPBACK_NAMES | {name.lower().strip("[]") for name in host_names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
            return
        log.warning("web request refused", reason=refusal.reason)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
            return
        body = f"{refusal.reason}\n".encode()
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"x-content-type-options", b"nosniff"),
            (b"content-length", str(len(body)).encode()),
        ]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name = raw_name.decode("latin-1").lower()
            if name in DECISIVE and name in headers:
                return Refusal(400, f"the request has more than one {name} header")
            headers[name] = raw_value.decode("latin-1")
        if CONTROL_CHARACTER.search(scope["path"]):
            return Refusal(400, "the address contains a control character")
        return self._of_host(headers.get("host", "")) or _of_origin(scope, headers) or _of_form(scope, headers)

    def _of_host(self, host: str) -> Refusal | None:
        """Against DNS rebinding: a foreign name that is made to point at this machine."""
        parsed = HOST.fullmatch(host.lower())
        if parsed is not None and (parsed["six"] or parsed["name"]) in self._host_names:
            return None
        return Refusal(
            403,
            f"{host[:100]!r} is not a name of this server. If browsers should reach it under that name, add the name "
            "to ST_PIPELINE_DAGSTER_HOST_NAMES and restart",
        )


def _of_origin(scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
    """Requests that may change something, and websockets, must come from the UI's own pages or from no page at all."""
    if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
        return None
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        is_own = site in {"same-origin", "none"}
    else:
        is_own = origin is None or origin.lower().partition("://")[2] == headers["host"].lower()
    return None if is_own else Refusal(403, "the request comes from another site's page")


def _of_form(scope: Scope, headers: Mapping[str, str]) -> Refusal | None:
    """Changes must be sent as JSON, which another site's page cannot do unasked; GET must only read."""
    if scope["type"] == "websocket":
        return None
    if scope["method"] not in SAFE_METHODS:
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        return None if media_type == "application/json" else Refusal(415, "send the request as application/json")
    # To a request for text/html Dagster returns GraphiQL's page; everything else it executes.
    executes = scope["path"].rstrip("/") == GRAPHQL_PATH and "text/html" not in headers.get("accept", "")
    return Refusal(405, "send GraphQL by POST") if executes else None


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *RESPONSE_HEADERS]}
        await send(message)

    return send_with_headers
