"""A client that shares no code with the pipeline: httpx, and of ours only the addresses in the API catalogue.

What the simulator serves is judged through it. A wrong address in the catalogue shows where the specs name it once more
(entities/test_specs.py).
"""

import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.control import SimulatedTenant

CATALOGUE = catalogue_entries()
PATHS = {
    name: entry.list_path.replace("/tenant/{tenant}/", "/tenant/{}/{}").lstrip("/") for name, entry in CATALOGUE.items()
}
FEEDS = [name for name, entry in CATALOGUE.items() if entry.export_path]
NO_FEED = CATALOGUE.keys() - set(FEEDS)
# Entities of the catalogue with a GET by id.
DETAILS = ("customers", "locations", "memberships", "membership_types", "invoices")
# Parameters without which the response is a 400.
NEEDED = {
    "customer_contacts": {"modifiedOnOrAfter": "2000-01-01"},
    "location_contacts": {"modifiedOnOrAfter": "2000-01-01"},
    "custom_fields.equipment": {"descending": "false"},
}
_WIDEST = {"active": "Any", "activeState": "All"}
ANY_STATE: dict[str, dict[str, str]] = {
    name: {key: _WIDEST[key] for key in (entry.active_filter,) if key} | NEEDED.get(name, {})
    for name, entry in CATALOGUE.items()
}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading certificates for every client would cost 30 ms a test
NO_LIMIT = {"rate_limit_per_second": None}


class IndependentClient:
    """Logs in once and asks; one tenant."""

    def __init__(self, tenant: SimulatedTenant) -> None:
        self.tenant = tenant
        self.http = httpx.Client(base_url=tenant.url, timeout=30, trust_env=False, verify=NO_TLS)
        self.http.headers["ST-App-Key"] = tenant.app_key

    def token(self, **changes: str) -> httpx.Response:
        """Ask for a token."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.tenant.client_id,
            "client_secret": self.tenant.client_secret,
        }
        return self.http.post("/connect/token", data={**form, **changes})

    def log_in(self) -> "IndependentClient":
        """Send the token from here on."""
        self.http.headers["Authorization"] = self.token().json()["access_token"]
        return self

    def list(self, entity: str, **params: Any) -> httpx.Response:
        """One list page; `__` in a name stands for the dot."""
        return self._get(entity, "", params)

    def feed(self, entity: str, **params: Any) -> httpx.Response:
        """One feed page; `from_` stands for `from`."""
        return self._get(entity, "export/", params)

    def _get(self, entity: str, kind: str, params: dict[str, Any]) -> httpx.Response:
        cleaned = {name.rstrip("_").replace("__", "."): value for name, value in params.items()}
        return self.http.get("/" + PATHS[entity].format(self.tenant.tenant_id, kind), params=cleaned)

    def path(self, path: str) -> httpx.Response:
        """Any address below the tenant: `crm/v2/tenant/{}/customers/1`."""
        return self.http.get("/" + path.format(self.tenant.tenant_id))

    def walk_list(self, entity: str, **params: Any) -> "list[dict[str, Any]]":
        """Every record of a list, in the widest state unless `params` say otherwise."""
        records, page = [], 0
        while True:
            page += 1
            body = (
                self.list(entity, **{**ANY_STATE[entity], "pageSize": 500, **params, "page": page})
                .raise_for_status()
                .json()
            )
            records += body["data"]
            if not body["hasMore"]:
                return records

    def walk_feed(self, entity: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Every page of a feed."""
        while True:
            body = self.feed(entity, **params).raise_for_status().json()
            yield body
            if not body["hasMore"]:
                return
            params["from_"] = body["continueFrom"]


def ids(response: httpx.Response) -> list[int]:
    """The ids on a page."""
    return [record["id"] for record in response.raise_for_status().json()["data"]]
