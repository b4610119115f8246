"""The simulator's process: two ports, one loop.

Here: sockets, uvicorn, the changes of `--live`. Not here: what is served.
"""

import asyncio
import random
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from st_pipeline.simulator.app import TRANSPORT, SimulatorApp
from st_pipeline.simulator.generate.activity import advance
from st_pipeline.simulator.tenant import World

HOST = "127.0.0.1"  # the control API has no authentication
LIVE_ODDS = {  # weights of 0, 1, 2 and 4 records each time
    "created": (80, 20, 0, 0),
    "changed": (0, 30, 40, 30),
    "merged": (97, 3, 0, 0),
    "deleted": (93, 7, 0, 0),
    "deactivated": (97, 3, 0, 0),
}


def bind(port: int) -> socket.socket:
    """A socket on loopback; port 0 takes a free one. Raises OSError when the port is taken."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((HOST, port))
    except OSError:
        bound.close()
        raise
    return bound


def serve(
    world: World,
    production: socket.socket,
    integration: socket.socket,
    *,
    live_seconds: float | None,
    ready: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT; records change every `live_seconds`. `ready` is called once both ports respond."""
    ports = {production.getsockname()[1]: "production", integration.getsockname()[1]: "integration"}
    config = uvicorn.Config(
        SimulatorApp(world, ports),
        http=_protocol(),
        log_level="error",  # shows bugs of ours, but not requests
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,  # the default of 5 s is shorter than a client's back-off
        server_header=False,
    )
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn stops on these signals, then raises them again
        signal.signal(number, lambda *_: None)
    _Server(config, world, live_seconds=live_seconds, ready=ready).run(sockets=[production, integration])


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, world: World, *, live_seconds: float | None, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._world, self._live_seconds, self._ready = world, live_seconds, ready
        self._ticking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._live_seconds:
            self._ticking = asyncio.create_task(_live(self._world, self._live_seconds))
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._ticking:
            self._ticking.cancel()
        await super().shutdown(sockets)


def _protocol() -> type[asyncio.Protocol]:
    """Uvicorn's protocol, with the transport in the scope, so that a fault can drop the connection."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Base
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as Base  # type: ignore[assignment]

    class WithTransport(Base):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            app = self.app

            async def with_transport(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, TRANSPORT: transport}, receive, send)

            self.app = with_transport

    return WithTransport


async def _live(world: World, every_seconds: float) -> None:
    """Change a few records of every tenant, again and again."""
    chance = random.Random(0)  # noqa: S311 - made-up data
    while True:
        await asyncio.sleep(every_seconds)
        for tenant in list(world.tenants.values()):
            asked = {action: chance.choices((0, 1, 2, 4), weights)[0] for action, weights in LIVE_ODDS.items()}
            await tenant.ready()
            advance(tenant.company, world.clock, asked)
            await asyncio.sleep(0)
