"""A client written by somebody else: httpx and nothing of ours. What the simulator serves is judged through it."""

import ssl
from collections.abc import Iterator
from typing import Any

import httpx

from st_pipeline.simulator.control import SimulatedTenant

PATHS = {
    "business_units": "settings/v2/tenant/{}/{}business-units",
    "technicians": "settings/v2/tenant/{}/{}technicians",
    "tag_types": "settings/v2/tenant/{}/{}tag-types",
    "job_types": "jpm/v2/tenant/{}/{}job-types",
    "jobs": "jpm/v2/tenant/{}/{}jobs",
    "appointments": "jpm/v2/tenant/{}/{}appointments",
    "call_reasons": "jbce/v2/tenant/{}/{}call-reasons",
    "campaigns": "marketing/v2/tenant/{}/{}campaigns",
    "estimates": "sales/v2/tenant/{}/{}estimates",
    "payments": "accounting/v2/tenant/{}/{}payments",
    "equipment": "equipmentsystems/v2/tenant/{}/{}installed-equipment",
    "location_contacts": "crm/v2/tenant/{}/{}locations/contacts",
    "custom_fields.jobs": "jpm/v2/tenant/{}/{}jobs/custom-fields",
    "custom_fields.projects": "jpm/v2/tenant/{}/{}projects/custom-fields",
    "custom_fields.customers": "crm/v2/tenant/{}/{}customers/custom-fields",
    "custom_fields.locations": "crm/v2/tenant/{}/{}locations/custom-fields",
    "custom_fields.invoices": "accounting/v2/tenant/{}/{}invoices/custom-fields",
    "custom_fields.payments": "accounting/v2/tenant/{}/{}payments/custom-fields",
    "custom_fields.memberships": "memberships/v2/tenant/{}/{}memberships/custom-fields",
    "custom_fields.equipment": "equipmentsystems/v2/tenant/{}/{}installed-equipment/custom-field-types",
    "customers": "crm/v2/tenant/{}/{}customers",
    "customer_contacts": "crm/v2/tenant/{}/{}customers/contacts",
    "locations": "crm/v2/tenant/{}/{}locations",
    "memberships": "memberships/v2/tenant/{}/{}memberships",
    "membership_types": "memberships/v2/tenant/{}/{}membership-types",
    "invoices": "accounting/v2/tenant/{}/{}invoices",
}
NO_FEED = {"job_types", "call_reasons", "campaigns", *(name for name in PATHS if name.startswith("custom_fields"))}
FEEDS = [name for name in PATHS if name not in NO_FEED]
DETAILS = ("customers", "locations", "memberships", "membership_types", "invoices")  # GET by id, of those in our facts
_STATELESS = ("jobs", "custom_fields.jobs")
ANY_STATE: dict[str, dict[str, str]] = {
    **{name: {} if name.startswith(_STATELESS) else {"active": "Any"} for name in PATHS},
    "customer_contacts": {"modifiedOnOrAfter": "2000-01-01"},
    "location_contacts": {"modifiedOnOrAfter": "2000-01-01"},
    "custom_fields.equipment": {"descending": "false"},
    "invoices": {"activeState": "All"},
    "payments": {"activeState": "All"},
}
# Or the answer is a 400.
NEEDED = {name: ANY_STATE[name] for name in ("customer_contacts", "location_contacts", "custom_fields.equipment")}
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reading certificates for every client would cost 30 ms a test
NO_LIMIT = {"rate_limit_per_second": None}


class Stranger:
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

    def log_in(self) -> "Stranger":
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
