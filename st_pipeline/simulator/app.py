"""The ASGI application: sockets on one side, `Api` and the control API on the other.

Here: reading requests, writing answers, compression, breaking off where a fault says so. Not here: what is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from st_pipeline.simulator.api import TOKEN_PATH, Api, Request
from st_pipeline.simulator.control_api import CONTROL_PREFIX, ControlApi
from st_pipeline.simulator.responses import Answer, CompressedPages, gzip
from st_pipeline.simulator.tenant import World

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "simulator.transport"
_COMPRESS_FROM_BYTES = 1_000
_THREAD_FROM_BYTES = 256 * 1024  # below, handing over costs more than it saves
_LOOPBACK = ("127.0.0.1", "::1")


class SimulatorApp:
    """One process, two ports: which environment a request is for is a property of the port it came in on."""

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
                await self._write(await self._control.answer(request), headers, scope, receive, send)
            return
        handle = self._api.token if request.path == TOKEN_PATH else self._api.resource
        answer, tenant = await handle(request)
        try:
            await self._write(answer, headers, scope, receive, send)
        finally:
            if tenant:
                tenant.traffic.end(answer.status)

    async def _write(self, answer: Answer, headers: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        if answer.delivery == "dropped":
            scope[TRANSPORT].abort()
            await _disconnected(receive)
            return
        body, extra = answer.body, dict(answer.headers)
        if len(body) >= _COMPRESS_FROM_BYTES and "gzip" in headers.get("accept-encoding", ""):
            body = await self._gzipped(body)
            extra["Content-Encoding"], extra["Vary"] = "gzip", "Accept-Encoding"
        if answer.delivery == "truncated":
            body = body[: len(body) // 2]
        start = {"Content-Type": answer.content_type, "Content-Length": str(len(body)), **extra}
        encoded = [(name.lower().encode(), value.encode()) for name, value in start.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        if answer.delivery == "closed_midway":
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
    """Wait until the server knows: it would report an answer that was never finished."""
    while (await receive())["type"] != "http.disconnect":
        pass
