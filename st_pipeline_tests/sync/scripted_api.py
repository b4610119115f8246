"""ServiceTitan for one entity as a test writes it down: the pages of its feed and of its list, and whom it knows by id.

Here: the answers, and what was asked, in short. Not here: tests, and what the simulator does by itself.
"""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr

from st_pipeline.rates import Rate
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.tenant_authentication import TenantAuthentication
from st_pipeline.settings import Settings

REFUSED = 400
OUTAGE = 503


@dataclass
class FeedPage:
    """One page of a feed: its records, the token it ends with, and whether there are more."""

    records: list[dict[str, Any]]
    token: str
    has_more: bool = False


@dataclass
class ScriptedApi:
    """`feed`: pages by the token they are asked with (None: from the beginning), or a status in a page's place.

    `pages`: of the list; `total`: what the list says of itself; `known`: whom it knows by id, those of its pages unless
    told. `asked`: `feed t1`, `list 2`, `ids 1,2`, `total`, with the times it was asked for.
    """

    feed: dict[str | None, FeedPage | int] = field(default_factory=dict)
    pages: list[list[dict[str, Any]]] = field(default_factory=list)
    total: int | None = None
    known: set[int] | None = None
    asked: list[str] = field(default_factory=list)

    def client(self, settings: Settings) -> ServiceTitanClient:
        """One that asks this, once for each page."""
        quick = settings.model_copy(update={"rate_limit": Rate(1_000_000, 1), "max_attempts": 1})
        keys = {name: SecretStr(name) for name in ("client_id", "client_secret", "app_key")}
        authentication = TenantAuthentication(
            tenant="acme", environment="production", servicetitan_tenant_id=1, api_url="https://api.test",
            auth_url="https://auth.test/token", **keys,
        )  # fmt: skip
        return ServiceTitanClient(authentication, quick, transport=httpx.MockTransport(self))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer."""
        params = request.url.params
        if request.url.path.endswith("/token"):
            return _json({"access_token": "t", "expires_in": 900, "token_type": "Bearer"})
        if "/export/" in request.url.path:
            return self._feed_page(params.get("from"))
        if "ids" in params:
            self.asked.append(f"ids {params['ids']}")
            known = {one["id"] for page in self.pages for one in page} if self.known is None else self.known
            found = [{"id": int(one)} for one in params["ids"].split(",") if int(one) in known]
            return _json({"page": 1, "hasMore": False, "data": found})
        total = sum(map(len, self.pages)) if self.total is None else self.total
        if params["pageSize"] == "1":
            self.asked.append("total")
            return _json({"page": 1, "hasMore": total > 1, "totalCount": total, "data": []})
        times = [f"{name} {params[name]}" for name in ("modifiedOnOrAfter", "modifiedBefore") if name in params]
        number = int(params["page"])
        self.asked.append(" ".join((f"list {number}", *times)))
        page = self.pages[number - 1] if self.pages else []
        return _json({"page": number, "hasMore": number < len(self.pages), "totalCount": total, "data": page})

    def _feed_page(self, token: str | None) -> httpx.Response:
        self.asked.append(f"feed {token}")
        page = self.feed[token]
        if isinstance(page, int):
            return _json({"status": page, "title": "no", "errors": {}}, page)
        return _json({"hasMore": page.has_more, "continueFrom": page.token, "data": page.records})


def _json(body: object, status: int = 200) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(json.dumps(body).encode()))


def row(st_id: int, day: int = 1, **values: Any) -> dict[str, Any]:
    """A record modified on that day of January 2026."""
    return {"id": st_id, "active": True, "modifiedOn": f"2026-01-{day:02}T00:00:00Z", **values}
