"""The client of the control API.

Here: one method per address of `/_sim/`. Not here: the ServiceTitan API itself, which tests call as any client would.
"""

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import randbelow, token_hex
from types import TracebackType
from typing import Any, Self

import httpx

Counts = int | Mapping[str, int]


class SimulatorError(RuntimeError):
    """The simulator cannot be reached, or refuses a request; the message says which."""


class SimulatorControl:
    """Controls a running simulator. `base_url` is either of its two addresses."""

    def __init__(self, base_url: str, integration_url: str | None = None, *, timeout_seconds: float = 120) -> None:
        self.production_url = base_url.rstrip("/")
        self.integration_url = (integration_url or base_url).rstrip("/")
        # Plain HTTP on loopback: an empty TLS context saves the 30 ms of reading certificates.
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._http = httpx.Client(base_url=self.production_url, timeout=timeout_seconds, trust_env=False, verify=no_tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the simulator keeps running."""
        self._http.close()

    def _ask(self, method: str, path: str, body: bytes | None = None, **params: str) -> Any:
        try:
            response = self._http.request(method, f"/_sim/{path}", content=body, params=params)
        except httpx.HTTPError as error:
            raise SimulatorError(
                f"no simulator responds at {self.production_url}: {error}. Start one with `simulator serve`."
            ) from error
        if response.is_error:
            raise SimulatorError(f"{method} /_sim/{path}: {response.json().get('error', response.status_code)}")
        return response.json()

    def _send(self, method: str, path: str, body: object) -> Any:
        return self._ask(method, path, json.dumps(body).encode())

    def health(self) -> dict[str, Any]:
        """`{status, now, tenants}`."""
        return dict(self._ask("GET", "health"))

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The process's settings, after these changes."""
        return dict(self._send("POST", "settings", changes))

    def set_clock(self, *, offset_seconds: float | None = None, now: str | None = None) -> dict[str, Any]:
        """Set the clock of every tenant: an offset from real time, or a time (`2026-01-02T03:04:05Z`)."""
        return dict(
            self._send("POST", "clock", {"set": now} if now is not None else {"offset_seconds": offset_seconds or 0.0})
        )

    def tenants(self) -> list[dict[str, Any]]:
        """Every tenant with its made-up keys and record counts."""
        return list(self._ask("GET", "tenants"))

    def create_tenant(
        self, tenant_id: int | None = None, environment: str = "production", **spec: Any
    ) -> "SimulatedTenant":
        """Make a tenant; keys and number are random unless given. Raises SimulatorError that names a wrong field."""
        word = token_hex(6)
        made_up = {"client_id": f"cid.{word}", "client_secret": f"cs.{token_hex(16)}", "app_key": f"ak1.{word}"}
        number = tenant_id or 100_000_000 + randbelow(900_000_000)
        full = {**made_up, **spec, "tenant_id": number, "environment": environment}
        self._send("POST", "tenants", full)
        return SimulatedTenant(self, number, environment, full["client_id"], full["client_secret"], full["app_key"])

    def delete_tenant(self, tenant_id: int, environment: str = "production") -> None:
        """Remove a tenant."""
        self._ask("DELETE", f"tenants/{environment}/{tenant_id}")

    def change_tenant(self, tenant_id: int, environment: str = "production", **changes: Any) -> dict[str, Any]:
        """Change `client_secret`, `app_key`, `scopes` or `connected`."""
        return dict(self._send("PATCH", f"tenants/{environment}/{tenant_id}", changes))

    def tenant_settings(self, tenant_id: int, environment: str = "production", **changes: Any) -> dict[str, Any]:
        """Settings for one tenant only."""
        return dict(self._send("POST", f"tenants/{environment}/{tenant_id}/settings", changes))

    def advance(
        self, tenant_id: int, environment: str = "production", **counts: Counts
    ) -> dict[str, dict[str, list[int]]]:
        """Make records change over time: `created=2, changed={"invoices": 5}`. Returns ids by entity and action."""
        return dict(self._send("POST", f"tenants/{environment}/{tenant_id}/advance", counts))

    def set_faults(
        self, tenant_id: int, environment: str = "production", *, rules: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Replace a tenant's fault rules."""
        return list(self._send("PUT", f"tenants/{environment}/{tenant_id}/faults", list(rules)))

    def add_fault(
        self, tenant_id: int, environment: str = "production", *, rule: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Add one fault rule to the others."""
        return list(self._send("POST", f"tenants/{environment}/{tenant_id}/faults", dict(rule)))

    def faults(self, tenant_id: int, environment: str = "production") -> list[dict[str, Any]]:
        """The rules, with how often each was `seen` and `struck`."""
        return list(self._ask("GET", f"tenants/{environment}/{tenant_id}/faults"))

    def revoke_tokens(self, tenant_id: int, environment: str = "production") -> int:
        """Revoke all tokens of a tenant. Returns how many there were."""
        return int(self._ask("POST", f"tenants/{environment}/{tenant_id}/revoke-tokens")["revoked"])

    def remember(self, tenant_id: int, environment: str = "production") -> None:
        """Keep a tenant as it is now, to `restore` it."""
        self._ask("POST", f"tenants/{environment}/{tenant_id}/remember")

    def restore(self, tenant_id: int, environment: str = "production") -> None:
        """Put a tenant back to what it was when it was asked to remember; its tokens stay good."""
        self._ask("POST", f"tenants/{environment}/{tenant_id}/restore")

    def requests(self, tenant_id: int, environment: str = "production", *, reset: bool = False) -> dict[str, Any]:
        """Request counters; `reset` sets them to zero first."""
        return dict(self._ask("DELETE" if reset else "GET", f"tenants/{environment}/{tenant_id}/requests"))

    def truth(
        self, tenant_id: int, environment: str = "production", *, entities: Sequence[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """Figures by entity: live, active, deleted, ids_sum, bytes_checksum, newest_modified_on, totals.

        Of the entities named, or of all, whose history is then made up first.
        """
        path = f"tenants/{environment}/{tenant_id}/truth"
        return {entity: self._ask("GET", f"{path}/{entity}") for entity in entities} or dict(self._ask("GET", path))

    def ids(self, entity: str, tenant_id: int, environment: str = "production") -> list[int]:
        """Ids of the live records."""
        return list(self._ask("GET", f"tenants/{environment}/{tenant_id}/truth/{entity}/ids"))

    def record(self, entity: str, record_id: int, tenant_id: int, environment: str = "production") -> dict[str, Any]:
        """One record as the feed has it."""
        return dict(self._ask("GET", f"tenants/{environment}/{tenant_id}/records/{entity}/{record_id}"))

    def insert(
        self, entity: str, body: bytes | Mapping[str, Any], tenant_id: int, environment: str = "production"
    ) -> int:
        """Put a record with exactly these bytes. Returns its key, which is negative when it has no id."""
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        return int(self._ask("POST", f"tenants/{environment}/{tenant_id}/records/{entity}", raw)["id"])

    def patch(
        self,
        entity: str,
        record_id: int,
        changes: Mapping[str, Any],
        tenant_id: int,
        environment: str = "production",
        *,
        touch: bool = True,
    ) -> dict[str, Any]:
        """Change keys of a record; without `touch` its `modifiedOn` and its place in the feed stay."""
        path = f"tenants/{environment}/{tenant_id}/records/{entity}/{record_id}"
        return dict(self._ask("PATCH", path, json.dumps(dict(changes)).encode(), touch=str(touch).lower()))

    def delete(
        self, entity: str, record_id: int, tenant_id: int, environment: str = "production", *, touch: bool = True
    ) -> None:
        """Delete a record: not in lists, inactive in the feed; without `touch` the feed shows it as it was."""
        path = f"tenants/{environment}/{tenant_id}/records/{entity}/{record_id}"
        self._ask("DELETE", path, touch=str(touch).lower())


@dataclass(frozen=True)
class SimulatedTenant:
    """One tenant of a running simulator, and everything `SimulatorControl` can do to it."""

    control: SimulatorControl
    tenant_id: int
    environment: str
    client_id: str
    client_secret: str
    app_key: str

    @property
    def url(self) -> str:
        """Base address of its environment, for API and token requests alike."""
        return self.control.production_url if self.environment == "production" else self.control.integration_url

    def advance(self, **counts: Counts) -> dict[str, dict[str, list[int]]]:
        """Make records change over time: `created=2, changed={"invoices": 5}`."""
        return self.control.advance(self.tenant_id, self.environment, **counts)

    def fault(self, kind: str, **rule: Any) -> None:
        """Add one fault rule; the others keep their counts."""
        self.control.add_fault(self.tenant_id, self.environment, rule={"kind": kind, **rule})

    def faults(self) -> list[dict[str, Any]]:
        """The fault rules, with their counts."""
        return self.control.faults(self.tenant_id, self.environment)

    def clear_faults(self) -> None:
        """Remove all fault rules."""
        self.control.set_faults(self.tenant_id, self.environment, rules=[])

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Settings for this tenant only."""
        return self.control.tenant_settings(self.tenant_id, self.environment, **changes)

    def change(self, **changes: Any) -> None:
        """Change `client_secret`, `app_key`, `scopes` or `connected`."""
        self.control.change_tenant(self.tenant_id, self.environment, **changes)

    def truth(self, *entities: str) -> dict[str, dict[str, Any]]:
        """Figures by entity: of those named, or of all."""
        return self.control.truth(self.tenant_id, self.environment, entities=entities)

    def ids(self, entity: str) -> list[int]:
        """Ids of the live records."""
        return self.control.ids(entity, self.tenant_id, self.environment)

    def record(self, entity: str, record_id: int) -> dict[str, Any]:
        """One record as the feed has it."""
        return self.control.record(entity, record_id, self.tenant_id, self.environment)

    def insert(self, entity: str, body: bytes | Mapping[str, Any]) -> int:
        """Put a record with exactly these bytes."""
        return self.control.insert(entity, body, self.tenant_id, self.environment)

    def patch(self, entity: str, record_id: int, changes: Mapping[str, Any], *, touch: bool = True) -> dict[str, Any]:
        """Change keys of a record."""
        return self.control.patch(entity, record_id, changes, self.tenant_id, self.environment, touch=touch)

    def delete(self, entity: str, record_id: int, *, touch: bool = True) -> None:
        """Delete a record."""
        self.control.delete(entity, record_id, self.tenant_id, self.environment, touch=touch)

    def revoke_tokens(self) -> int:
        """Revoke all tokens."""
        return self.control.revoke_tokens(self.tenant_id, self.environment)

    def remember(self) -> None:
        """Keep everything as it is now, to `restore` it."""
        self.control.remember(self.tenant_id, self.environment)

    def restore(self) -> None:
        """Be again as `remember` saw it; tokens stay good."""
        self.control.restore(self.tenant_id, self.environment)

    def requests(self, *, reset: bool = False) -> dict[str, Any]:
        """Request counters."""
        return self.control.requests(self.tenant_id, self.environment, reset=reset)

    def remove(self) -> None:
        """Remove this tenant."""
        self.control.delete_tenant(self.tenant_id, self.environment)
