"""The ASGI application, between the sockets and the two APIs.

Here: reading requests, writing responses, compression, breaking off when a fault says so. Not here: what responses say.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from st_pipeline.simulator.api import TOKEN_PATH, Api, Request
from st_pipeline.simulator.control_api import CONTROL_PREFIX, ControlApi
from st_pipeline.simulator.responses import CompressedPages, Response, gzip
from st_pipeline.simulator.tenant import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "simulator.transport"
_COMPRESS_FROM_BYTES = 1_000
_THREAD_FROM_BYTES = 256 * 1024  # below, the thread costs more than it saves
_LOOPBACK = ("127.0.0.1", "::1")


class SimulatorApp:
    """One process with two ports; the port tells which environment a request is for."""

    def __init__(self, world: World, ports: dict[int, str]) -> None:
        self._ports = ports
        self._api = Api(world)
        self._control = ControlApi(world)
        self._compressed = CompressedPages()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        request = Request(
            self._ports[scope["server"][1]],
            scope["method"],
            scope["path"],
            scope["query_string"],
            headers,
            await _body(receive) if scope["method"] != "GET" else b"",
        )
        if request.path.startswith(CONTROL_PREFIX):
            if scope["client"] and scope["client"][0] in _LOOPBACK:
                await self._write(await self._control.response(request), headers, scope, receive, send)
            return
        handle = self._api.token if request.path == TOKEN_PATH else self._api.resource
        response, tenant = await handle(request)
        try:
            await self._write(response, headers, scope, receive, send)
        finally:
            if tenant:
                tenant.traffic.end(response.status)

    async def _write(
        self, response: Response, headers: dict[str, str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        if response.delivery == "dropped":
            scope[TRANSPORT].abort()
            await _disconnected(receive)
            return
        body, extra = response.body, dict(response.headers)
        if len(body) >= _COMPRESS_FROM_BYTES and "gzip" in headers.get("accept-encoding", ""):
            body = await self._gzipped(body)
            extra["Content-Encoding"], extra["Vary"] = "gzip", "Accept-Encoding"
        if response.delivery == "truncated":
            body = body[: len(body) // 2]
        start = {"Content-Type": response.content_type, "Content-Length": str(len(body)), **extra}
        encoded = [(name.lower().encode(), value.encode()) for name, value in start.items()]
        await send({"type": "http.response.start", "status": response.status, "headers": encoded})
        if response.delivery == "closed_midway":
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            scope[TRANSPORT].close()
            await _disconnected(receive)
            return
        await send({"type": "http.response.body", "body": body})

    async def _gzipped(self, body: bytes) -> bytes:
        page = self._compressed.get(body)
        if page is None:
            small = len(body) < _THREAD_FROM_BYTES
            page = gzip(body) if small else await asyncio.to_thread(gzip, body)
            self._compressed.put(body, page)
        return page


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _disconnected(receive: Receive) -> None:
    """Wait until the server knows, or it would report an unfinished response."""
    while (await receive())["type"] != "http.disconnect":
        pass
