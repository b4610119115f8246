"""A read of an entity without a server: the database and ServiceTitan are scripted at their edges.

Here: what both answer, and records. Not here: tests.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import httpx
from pydantic import SecretStr

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.postgres.leases import Lease
from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.protocol import Mode, record_hash
from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication
from st_pipeline.settings import Settings
from st_pipeline.sync.context import EntityContext
from st_pipeline.sync.prepare import Reading

CUSTOMERS = ENTITIES["customers"]
JANUARY_US = 1767225600 * 1_000_000
GONE = {7, 70}  # what the source does not know by id


class Tables:
    """In the connection's place: what the table holds, and the lease until `extensions` of it are used up."""

    def __init__(self, held: tuple[tuple[Any, ...], ...] = (), extensions: int = 1000) -> None:
        self.held = held
        self.extensions = extensions
        self.is_open = False
        self.statements: list[str] = []

    @contextmanager
    def begin(self) -> Iterator[None]:
        """A transaction, never within another."""
        assert not self.is_open
        self.is_open = True
        yield
        self.is_open = False

    def execute(self, statement: object, bound: Any = None) -> Any:
        """What it holds of the rows that are asked for."""
        assert self.is_open
        self.statements.append(str(statement))
        if "tenant_leases" not in str(statement):
            return iter([row for row in self.held if row[0] in bound["ids"]])
        self.extensions -= 1
        return _Extended(None if self.extensions < 0 else _Extended.Row())


class _Extended:
    class Row:
        reason = None

    def __init__(self, row: Row | None) -> None:
        self.one_or_none = lambda: row


class Source:
    """ServiceTitan: it knows every id but those that are gone. `on_request` is told of each look-up."""

    def __init__(self, on_request: Callable[[], None] = lambda: None) -> None:
        self.on_request = on_request
        self.asked: list[list[int]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        if request.url.path.endswith("/token"):
            return _json({"access_token": "t", "expires_in": 900, "token_type": "Bearer"})
        self.on_request()
        ids = [int(one) for one in request.url.params["ids"].split(",")]
        self.asked.append(ids)
        return _json({"hasMore": False, "page": 1, "data": [{"id": one} for one in ids if one not in GONE]})


def _json(body: object) -> httpx.Response:
    return httpx.Response(200, stream=httpx.ByteStream(json.dumps(body).encode()))


@contextmanager
def reading(
    tables: Tables,
    source: Source | None = None,
    *,
    mode: Mode = Mode.INCREMENTAL,
    clock: Callable[[], float] = lambda: 0.0,
    spec: EntitySpec = CUSTOMERS,
    quiet: bool = False,
    rewrite: bool = False,
    **options: Any,
) -> Iterator[Reading]:
    settings = Settings(rate_limit=Rate(1_000_000, 1), request_timeout_seconds=10, max_attempts=2)
    keys = {name: SecretStr(name) for name in ("client_id", "client_secret", "app_key")}
    authentication = TenantAuthentication(
        tenant="acme", environment="production", servicetitan_tenant_id=1, api_url="https://api.test",
        auth_url="https://auth.test/token", **keys,
    )  # fmt: skip
    with ServiceTitanClient(authentication, settings, transport=httpx.MockTransport(source or Source())) as client:
        context = EntityContext(
            tenant="acme",
            credential_id=1,
            connection=cast("Any", tables),
            lease=Lease(1, "acme", uuid.UUID(int=1), 600),
            log=SyncLog(1, "acme", uuid.UUID(int=1), "manual", mode, spec.name),
            settings=settings,
            mode=mode,
            spec=spec,
            client=client,
            clock=clock,
            quiet=quiet,
            rewrite=rewrite,
        )
        yield Reading(context, is_open=True, **options)


def record(st_id: int, **values: Any) -> bytes:
    return json.dumps({"id": st_id, "active": True, "modifiedOn": "2026-01-01T00:00:00Z", **values}).encode()


def held(body: bytes) -> tuple[int, int, int, int]:
    return json.loads(body)["id"], JANUARY_US, record_hash(body), CUSTOMERS.version
