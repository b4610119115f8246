"""ServiceTitan scripted at the transport's edge, a clock that moves by sleeping, and clients that use both."""

import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.servicetitan.tenant_authentication import ClientKeys, TenantAuthentication, Token
from st_pipeline.settings import Settings

SECRETS = {"client_id": "cid.planted", "client_secret": "cs.planted", "app_key": "ak1.planted"}
Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class Clock:
    """A clock that only moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)
        self.slept: list[float] = []

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def sleep(self, _stop: threading.Event, seconds: float) -> None:
        """Note the wait and let it pass."""
        self.slept.append(seconds)
        self.pass_seconds(seconds)

    def pass_seconds(self, seconds: float) -> None:
        """Move on."""
        self.now += timedelta(seconds=seconds)


class Vendor:
    """Answers API requests from a script, in order; token requests with `token-1`, `token-2`, … unless scripted."""

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.token_script: list[Step] = []
        self.asked: list[httpx.Request] = []
        self.token_requests: list[httpx.Request] = []
        self.token_seconds = 900.0
        self._lock = threading.Lock()

    def will(self, *steps: Step) -> None:
        """The responses to the next API requests."""
        self.script += steps

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The next step of the script."""
        with self._lock:
            if request.url.path == "/connect/token":
                self.token_requests.append(request)
                step = self.token_script.pop(0) if self.token_script else self._token()
            else:
                self.asked.append(request)
                step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else step(request)

    def _token(self) -> httpx.Response:
        value = f"token-{len(self.token_requests)}"
        return answer(200, {"access_token": value, "expires_in": self.token_seconds, "token_type": "Bearer"})

    @property
    def bearers(self) -> list[str]:
        """The tokens the API requests came with."""
        return [request.headers["authorization"].removeprefix("Bearer ") for request in self.asked]

    def params(self, number: int = -1) -> dict[str, str]:
        """The query of one API request."""
        return dict(self.asked[number].url.params)


def answer(status: int, body: object = b"", headers: dict[str, str] | None = None) -> httpx.Response:
    """An answer as the wire has it: nothing reads or unpacks it before the client does."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(raw))


def packed(body: object, *, cut: int = 0) -> httpx.Response:
    """A gzip answer, without its last `cut` bytes."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    compress = zlib.compressobj(wbits=31)
    whole = compress.compress(raw) + compress.flush()
    return answer(200, whole[: len(whole) - cut], {"content-encoding": "gzip"})


def list_page(*records: object, more: bool = False, **keys: Any) -> httpx.Response:
    """A page of a list."""
    return packed({"page": 1, "pageSize": 50, "hasMore": more, "totalCount": None, "data": records, **keys})


def feed_page(*records: object, token: str | None, more: bool = False) -> httpx.Response:
    """A page of a feed."""
    return packed({"hasMore": more, "continueFrom": token, "data": records})


def refusal(status: int, title: str = "Refused", **keys: Any) -> httpx.Response:
    """ServiceTitan's error body."""
    body = {"type": "", "title": title, "status": status, "traceId": "00-abc-def-00", "errors": {}, "data": {}}
    return answer(status, {**body, **keys})


class MemoryStore:
    """A token store that other processes could share."""

    def __init__(self, token: Token | None = None) -> None:
        self.token = token
        self.held: ClientKeys | None = None

    def keys(self) -> ClientKeys | None:
        """What a rotation has put there."""
        return self.held

    def load(self) -> Token | None:
        """What is there."""
        return self.token

    def save(self, token: Token | None) -> None:
        """Replace it."""
        self.token = token


def make_authentication(
    api: str = "https://api.test", auth: str = "https://auth.test/connect/token", **keys: Any
) -> TenantAuthentication:
    """Access to the scripted vendor, or to what listens at these addresses."""
    values = {**SECRETS, "servicetitan_tenant_id": 4711, "tenant": "acme", "environment": "production", **keys}
    secrets = {name: SecretStr(values.pop(name)) for name in SECRETS}
    return TenantAuthentication(**values, **secrets, api_url=api, auth_url=auth)


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that reads a request of its only connection and then does what `serve` says."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(5)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vendor() -> Vendor:
    return Vendor()


@pytest.fixture
def client_settings() -> Settings:
    """As shipped, but for the rate: a script is not to be slowed down."""
    return Settings(rate_limit=Rate(1_000_000, 1))


@pytest.fixture
def make_client(vendor: Vendor, clock: Clock, client_settings: Settings) -> Iterator[Callable[..., ServiceTitanClient]]:
    """Clients of the scripted vendor: `make_client(store=..., max_attempts=2)`."""
    made: list[ServiceTitanClient] = []

    def make(
        *,
        store: MemoryStore | None = None,
        authentication: TenantAuthentication | None = None,
        deadline: Deadline = NO_DEADLINE,
        token: Token | None = None,
        **changed: Any,
    ) -> ServiceTitanClient:
        settings = client_settings.model_copy(update=changed)
        transport = httpx.MockTransport(vendor)
        made.append(
            ServiceTitanClient(
                authentication or make_authentication(),
                settings,
                store=store,
                deadline=deadline,
                token=token,
                clock=clock,
                sleep=clock.sleep,
                transport=transport,
            )
        )
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client: Callable[..., ServiceTitanClient]) -> ServiceTitanClient:
    return make_client()


def get(client: ServiceTitanClient, **changed: Any) -> bytes:
    """One request, its body as it came."""
    given: dict[str, Any] = {"read": bytes, "doing": "list invoices for tenant acme, page 3", "entity": "invoices"}
    return client.get("/accounting/v2/tenant/{tenant}/invoices", {"page": "3"}, **(given | changed))
