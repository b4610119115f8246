"""The control API, `/_sim/…`, with which tests and demos control the simulator.

Here: its addresses. Not here: what each request changes. Loopback only, without authentication. A wrong request gets a
400 with `{"error": …}`.
"""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from st_pipeline.simulator.api import Request
from st_pipeline.simulator.api_catalogue import entity_names, lists_of
from st_pipeline.simulator.clock import TICKS_PER_SECOND, to_text, to_ticks
from st_pipeline.simulator.faults import Rule
from st_pipeline.simulator.generate.activity import ACTIONS, advance, delete, named_in
from st_pipeline.simulator.responses import Response, json_response
from st_pipeline.simulator.store import EntityStore, Row
from st_pipeline.simulator.tenant import Tenant, TenantSpec, World, build_tenant
from st_pipeline.simulator.truth import truth_of

CONTROL_PREFIX = "/_sim/"
_TENANT_PATH = re.compile(
    r"/_sim/tenants/(?P<environment>production|integration)/(?P<tenant_id>\d{1,18})(?P<rest>/.*)?\Z"
)


class _BadRequest(Exception):
    """Status and message of a refusal."""


class ControlApi:
    """Handles `/_sim/` requests."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._routes: dict[tuple[str, str], Callable[[Request], Awaitable[Any]]] = {
            ("GET", "health"): self._health,
            ("GET", "settings"): self._settings,
            ("POST", "settings"): self._settings,
            ("POST", "clock"): self._clock,
            ("GET", "tenants"): self._tenants,
            ("POST", "tenants"): self._create,
        }

    async def response(self, request: Request) -> Response:
        """The response, whatever the request."""
        try:
            return json_response(200, await self._handle(request))
        except _BadRequest as wrong:
            status, message = wrong.args
            return json_response(status, {"error": message})
        except (msgspec.DecodeError, ValueError) as wrong:  # a ValidationError is a DecodeError
            return json_response(400, {"error": str(wrong)})

    async def _handle(self, request: Request) -> Any:
        found = _TENANT_PATH.match(request.path)
        if found is None:
            handle = self._routes.get((request.method, request.path.removeprefix(CONTROL_PREFIX)))
            if handle is None:
                raise _BadRequest(404, f"no {request.method} {request.path}")
            return await handle(request)
        tenant = self._world.tenants.get((found["environment"], int(found["tenant_id"])))
        if tenant is None:
            raise _BadRequest(404, f"no {found['environment']} tenant {found['tenant_id']}")
        name, *rest = (found["rest"] or "").strip("/").split("/")
        operation = _TENANT_ROUTES.get((request.method, name))
        if operation is None:
            raise _BadRequest(404, f"no {request.method} {request.path}")
        await tenant.ready(*_needed(tenant, request, name, rest))
        return operation(self._world, tenant, request, rest)

    async def _health(self, _: Request) -> dict[str, Any]:
        now = to_text(self._world.clock.peek())
        return {"status": "ok", "pid": os.getpid(), "now": now, "tenants": len(self._world.tenants)}

    async def _settings(self, request: Request) -> dict[str, Any]:
        if request.method == "POST":
            self._world.change_settings(_decode(request.body, dict[str, Any]))
        return msgspec.structs.asdict(self._world.settings)

    async def _clock(self, request: Request) -> dict[str, Any]:
        asked, clock = _decode(request.body, dict[str, float | str]), self._world.clock
        if "offset_seconds" in asked:
            clock.set_offset(float(asked["offset_seconds"]))
        elif "set" in asked:
            clock.set_offset(0.0)
            clock.set_offset((to_ticks(str(asked["set"])) - clock.peek()) / TICKS_PER_SECOND)
        else:
            raise _BadRequest(400, "send offset_seconds or set")
        return {"offset_seconds": clock.offset_seconds, "now": to_text(clock.peek())}

    async def _tenants(self, _: Request) -> list[dict[str, Any]]:
        return [_described(tenant) for tenant in self._world.tenants.values()]

    async def _create(self, request: Request) -> dict[str, Any]:
        spec = _decode(request.body, TenantSpec)
        owner = self._world.by_client(spec.environment, spec.client_id)
        if owner is not None and owner.tenant_id != spec.tenant_id:
            raise _BadRequest(400, f"client_id {spec.client_id} already belongs to tenant {owner.tenant_id}")
        tenant = await asyncio.to_thread(build_tenant, spec, self._world.settings, self._world.clock.peek())
        self._world.add(tenant)
        return _described(tenant)


def _needed(tenant: Tenant, request: Request, name: str, rest: list[str]) -> tuple[str, ...]:
    """The entities whose history must exist first: before a patch all, as nothing is made up from a patched record."""
    if name == "advance":
        return tuple(named_in(_decode(request.body, dict[str, int | dict[str, int]])))
    if name == "records" and request.method != "PATCH":
        return lists_of(rest[0]) if rest else ()
    if name == "truth" and rest:
        return lists_of(rest[0])
    return tuple(tenant.stores) if name in ("truth", "records") else ()


def _get(_world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    return _described(tenant)


def _remove(world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    world.remove(tenant.environment, tenant.tenant_id)
    return {"removed": tenant.tenant_id}


def _change(_world: World, tenant: Tenant, request: Request, _rest: list[str]) -> Any:
    changes = _decode(request.body, dict[str, Any])
    if not set(changes) <= set(_CHANGEABLE):
        raise _BadRequest(400, f"can be changed: {', '.join(_CHANGEABLE)}")
    tenant.spec = msgspec.convert({**msgspec.structs.asdict(tenant.spec), **changes}, TenantSpec)
    return _described(tenant)


def _own_settings(_world: World, tenant: Tenant, request: Request, _rest: list[str]) -> Any:
    return msgspec.structs.asdict(tenant.change_settings(_decode(request.body, dict[str, Any])))


def _advance(world: World, tenant: Tenant, request: Request, _rest: list[str]) -> Any:
    asked = _decode(request.body, dict[str, int | dict[str, int]])
    unknown = sorted(set(asked) - set(ACTIONS))
    if unknown:
        raise _BadRequest(400, f"unknown action {', '.join(unknown)}; known: {', '.join(ACTIONS)}")
    for counts in asked.values():
        for entity in counts if isinstance(counts, dict) else ():
            _stores(tenant, entity)
    return advance(tenant.company, world.clock, asked)


def _set_faults(_world: World, tenant: Tenant, request: Request, _rest: list[str]) -> Any:
    tenant.faults.replace(_decode(request.body, list[Rule]))
    return _faults(tenant)


def _add_fault(_world: World, tenant: Tenant, request: Request, _rest: list[str]) -> Any:
    tenant.faults.add(_decode(request.body, Rule))
    return _faults(tenant)


def _get_faults(_world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    return _faults(tenant)


def _clear_faults(_world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    tenant.faults.replace([])
    return _faults(tenant)


def _revoke(world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    return {"revoked": world.tokens.revoke(tenant)}


def _requests(_world: World, tenant: Tenant, request: Request, _rest: list[str]) -> Any:
    if request.method == "DELETE":
        tenant.traffic.reset()
    return tenant.traffic.as_dict()


def _truth(_world: World, tenant: Tenant, _request: Request, rest: list[str]) -> Any:
    if not rest:
        return {entity: truth_of(entity, _stores(tenant, entity)) for entity in entity_names()}
    stores = _stores(tenant, rest[0])
    return [row.key for store in stores for row in store.live()] if rest[1:] == ["ids"] else truth_of(rest[0], stores)


def _insert(world: World, tenant: Tenant, request: Request, rest: list[str]) -> Any:
    store = _store(tenant, rest[0] if rest else "")
    return {"id": store.add_verbatim(request.body, world.clock.now()).key}


def _record(_world: World, tenant: Tenant, _request: Request, rest: list[str]) -> Any:
    _, row = _row(tenant, rest)
    return msgspec.Raw(row.body)


def _patch(world: World, tenant: Tenant, request: Request, rest: list[str]) -> Any:
    entity, row = _row(tenant, rest)
    store = tenant.stores[entity]
    touch = _touches(request)
    changes = _decode(request.body, dict[str, Any])
    store.rewrite(row, changes, world.clock.now() if touch else None)
    if "modifiedOn" in changes:  # the caller names the time itself
        store.rewrite(row, {"modifiedOn": changes["modifiedOn"]}, None)
        row.modified = row.edited = to_ticks(changes["modifiedOn"]) if changes["modifiedOn"] else 0
    row.made = False
    return msgspec.Raw(row.body)


def _touches(request: Request) -> bool:
    """Does the change appear in the feed?"""
    return parse_qs(request.query_string.decode()).get("touch", ["true"])[0].lower() == "true"


def _delete(world: World, tenant: Tenant, request: Request, rest: list[str]) -> Any:
    entity, row = _row(tenant, rest)
    if not _touches(request):
        tenant.stores[entity].set_deleted(row, deleted=True)
        return {"deleted": row.key}
    tenant.company.now = world.clock
    delete(tenant.company, entity, row, world.clock.now())
    tenant.company.settle()
    return {"deleted": row.key}


def _remember(_world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    tenant.remember()
    return {"remembered": tenant.tenant_id}


def _restore(world: World, tenant: Tenant, _request: Request, _rest: list[str]) -> Any:
    if not tenant.restore():
        raise _BadRequest(400, f"tenant {tenant.tenant_id} was not asked to remember")
    tenant.process_settings = world.settings
    return {"restored": tenant.tenant_id}


_CHANGEABLE = ("client_secret", "app_key", "scopes", "connected")
_TENANT_ROUTES: dict[tuple[str, str], Callable[[World, Tenant, Request, list[str]], Any]] = {
    ("GET", ""): _get,
    ("DELETE", ""): _remove,
    ("PATCH", ""): _change,
    ("POST", "settings"): _own_settings,
    ("POST", "advance"): _advance,
    ("PUT", "faults"): _set_faults,
    ("POST", "faults"): _add_fault,
    ("GET", "faults"): _get_faults,
    ("DELETE", "faults"): _clear_faults,
    ("POST", "revoke-tokens"): _revoke,
    ("POST", "remember"): _remember,
    ("POST", "restore"): _restore,
    ("GET", "requests"): _requests,
    ("DELETE", "requests"): _requests,
    ("GET", "truth"): _truth,
    ("POST", "records"): _insert,
    ("GET", "records"): _record,
    ("PATCH", "records"): _patch,
    ("DELETE", "records"): _delete,
}


def _decode(body: bytes, kind: Any) -> Any:
    return msgspec.json.decode(body or b"{}", type=kind)


def _store(tenant: Tenant, entity: str) -> EntityStore:
    store = tenant.stores.get(entity)
    if store is None:
        raise _BadRequest(404, f"unknown entity {entity}; known: {', '.join(tenant.stores)}")
    return store


def _stores(tenant: Tenant, entity: str) -> list[EntityStore]:
    """The lists of an entity: one, except for custom fields."""
    return [_store(tenant, name) for name in lists_of(entity) or (entity,)]


def _row(tenant: Tenant, rest: list[str]) -> tuple[str, Row]:
    """`records/{entity}/{id}`: the list that has the record, and its row."""
    entity = rest[0] if rest else ""
    for name in lists_of(entity) or (entity,):
        row = _store(tenant, name).rows.get(int(rest[1])) if rest[1:] else None
        if row is not None:
            return name, row
    raise _BadRequest(404, f"no {'/'.join(rest)}")


def _faults(tenant: Tenant) -> list[dict[str, Any]]:
    return [{**msgspec.structs.asdict(a.rule), "seen": a.seen, "struck": a.struck} for a in tenant.faults.rules]


def _described(tenant: Tenant) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(tenant.spec),
        "records": {e: len(s.rows) for e, s in tenant.stores.items() if s.rows},
    }
