"""One tenant: its credentials, its records, its faults and counters.

Here: what belongs to a tenant, and all tenants of the process. Not here: requests.
"""

import asyncio
import pickle
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

import msgspec

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.clock import Clock, to_ticks
from st_pipeline.simulator.faults import Faults
from st_pipeline.simulator.generate import Company, Sizes, leave_empty, seed_company
from st_pipeline.simulator.generate.company import SEEDED_UNTIL
from st_pipeline.simulator.oauth import Tokens
from st_pipeline.simulator.settings import Settings, with_changes
from st_pipeline.simulator.store import EntityStore
from st_pipeline.simulator.traffic import Traffic

Environment = Literal["production", "integration"]
_serial = count(1)


class TenantSpec(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a test or the demo declares of a tenant. `scopes` None: all. `as_of`: when the made-up history ends."""

    tenant_id: int
    environment: Environment = "production"
    name: str = ""
    client_id: str
    client_secret: str
    app_key: str
    scopes: list[str] | None = None
    connected: bool = True
    seed: int = 1
    customers: int = 0
    invoices: int = 0
    as_of: str | None = None
    settings: dict[str, Any] = {}


@dataclass(eq=False)
class Tenant:
    """A tenant. `uid` is never reused, so caches do not mix up a removed tenant and a new one with its number."""

    spec: TenantSpec
    stores: dict[str, EntityStore]
    company: Company
    faults: Faults = field(default_factory=Faults)
    traffic: Traffic = field(default_factory=Traffic)
    uid: int = field(default_factory=lambda: next(_serial))
    process_settings: Settings = field(default_factory=Settings)
    _effective: tuple[Settings, Settings] | None = None
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)
    _remembered: bytes | None = None

    def __post_init__(self) -> None:
        self.tenant_id, self.environment = self.spec.tenant_id, self.spec.environment

    def __getstate__(self) -> dict[str, Any]:
        """State for a file: without what belongs to the process."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_making", "traffic", "uid")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """State from a file, in another process."""
        self.__dict__.update(state, _making=asyncio.Lock(), traffic=Traffic(), uid=next(_serial))

    def remember(self) -> None:
        """Keep everything as it is now, to `restore` it."""
        self._remembered = None
        self._remembered = pickle.dumps(self, protocol=pickle.HIGHEST_PROTOCOL)

    def restore(self) -> bool:
        """Be again as `remember` saw it; its tokens stay good. False: it was not asked to remember."""
        remembered = self._remembered
        if remembered is not None:
            self.__setstate__(pickle.loads(remembered).__getstate__() | {"_remembered": remembered})  # noqa: S301 - ours
        return remembered is not None

    async def ready(self, *entities: str) -> None:
        """Wait until the history of these entities is made up, in a thread; without any, until none is in progress."""
        async with self._making:
            if not self.company.made.issuperset(entities):
                await asyncio.to_thread(self.company.make, *entities)

    @property
    def client_id(self) -> str:
        """The client id that is valid now."""
        return self.spec.client_id

    @property
    def client_secret(self) -> str:
        """The secret that is valid now; a test may change it."""
        return self.spec.client_secret

    @property
    def app_key(self) -> str:
        """The app key that is valid now."""
        return self.spec.app_key

    @property
    def connected(self) -> bool:
        """Has the tenant connected the app?"""
        return self.spec.connected

    @property
    def settings(self) -> Settings:
        """The process's settings with this tenant's overrides; the same object until one of them changes."""
        if self._effective is None or self._effective[0] is not self.process_settings:
            self._effective = (self.process_settings, with_changes(self.process_settings, self.spec.settings))
        return self._effective[1]

    def change_settings(self, changes: dict[str, Any]) -> Settings:
        """Override settings for this tenant only. Raises msgspec.ValidationError."""
        with_changes(self.settings, changes)
        self.spec.settings, self._effective = {**self.spec.settings, **changes}, None
        return self.settings

    def granted_scopes(self) -> set[str]:
        """What the app may read here."""
        if self.spec.scopes is not None:
            return set(self.spec.scopes)
        return {entry.scope for entry in catalogue_entries().values()}


def build_tenant(spec: TenantSpec, process_settings: Settings, now: int) -> Tenant:
    """Make a tenant with its company. Raises msgspec.ValidationError, and ValueError for `as_of`."""
    with_changes(process_settings, spec.settings)
    stores = {
        name: EntityStore(bool(entry.export_only_fields), any(field.name == "modifiedOn" for field in entry.fields))
        for name, entry in catalogue_entries().items()
    }
    until = to_ticks(spec.as_of) if spec.as_of else min(SEEDED_UNTIL, now)
    company = Company(spec.seed, stores, until)
    if spec.customers or spec.invoices:
        seed_company(company, Sizes(spec.customers, spec.invoices))
    else:
        leave_empty(company)
    return Tenant(spec, stores, company, process_settings=process_settings)


class World:
    """Everything one process simulates."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.settings = Settings()
        self.tokens = Tokens()
        self.tenants: dict[tuple[str, int], Tenant] = {}

    def add(self, tenant: Tenant) -> None:
        """Add a tenant; it replaces one with the same number and environment."""
        self.remove(tenant.environment, tenant.tenant_id)
        tenant.process_settings = self.settings
        self.tenants[tenant.environment, tenant.tenant_id] = tenant

    def remove(self, environment: str, tenant_id: int) -> Tenant | None:
        """Remove a tenant and its tokens."""
        tenant = self.tenants.pop((environment, tenant_id), None)
        if tenant:
            self.tokens.revoke(tenant)
        return tenant

    def by_client(self, environment: str, client_id: str) -> Tenant | None:
        """ServiceTitan: a client id belongs to one tenant in one environment."""
        matching = (t for t in self.tenants.values() if t.environment == environment and t.client_id == client_id)
        return next(matching, None)

    def change_settings(self, changes: dict[str, Any]) -> Settings:
        """Change the process's settings. Raises msgspec.ValidationError."""
        self.settings = with_changes(self.settings, changes)
        for tenant in self.tenants.values():
            tenant.process_settings = self.settings
        return self.settings
