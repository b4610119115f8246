"""The API as clients see it: from a request to a response.

Here: the order of checks (gateway, faults, token, rate, scope) and what each fault does. Not here: sockets, pages.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from st_pipeline.simulator.api_catalogue import CatalogueEntry
from st_pipeline.simulator.contract_violations import violate_contract
from st_pipeline.simulator.faults import CONTRACT_VIOLATIONS, ActiveRule, RequestTraits, Rule
from st_pipeline.simulator.feeds import Feed
from st_pipeline.simulator.generate.activity import advance
from st_pipeline.simulator.lists import Lists, detail
from st_pipeline.simulator.oauth import Caller, TokenRequest, authorise, token_response
from st_pipeline.simulator.query import Query
from st_pipeline.simulator.responses import (
    HTML,
    HTML_PAGE,
    Refused,
    Response,
    error,
    gateway_not_found,
    invalid,
    too_many_requests,
)
from st_pipeline.simulator.routes import Match, match
from st_pipeline.simulator.settings import Settings
from st_pipeline.simulator.tenant import Tenant, World

TOKEN_PATH = "/connect/token"  # noqa: S105 - an address


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; header names in lower case."""

    environment: str
    method: str
    path: str
    query_string: bytes
    headers: dict[str, str]
    body: bytes


class Api:
    """Handles token and API requests of every tenant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lists = Lists()

    async def token(self, request: Request) -> tuple[Response, Tenant | None]:
        """`/connect/token`. Also returns the tenant in whose counters the request belongs."""
        asked = TokenRequest.read(request.body, request.headers)
        tenant = self._world.by_client(request.environment, asked.client_id)
        if request.method != "POST":
            return error(405, "Method Not Allowed"), None
        if tenant is None:
            return token_response(None, asked, self._world.tokens, self._world.clock.peek()), None
        tenant.traffic.begin("token")
        rules = tenant.faults.striking(
            RequestTraits(request.path, "token", "token", later_page=False, has_token=False), tenant.settings
        )
        response = await self._struck(tenant, rules)
        if response is None:
            response = token_response(tenant, asked, self._world.tokens, self._world.clock.peek())
        return _cut(response, rules), tenant

    async def resource(self, request: Request) -> tuple[Response, Tenant | None]:
        """Any other address."""
        found = match(request.path)
        if found is None:
            return gateway_not_found(), None
        tenant = self._world.tenants.get((request.environment, found.tenant_id))
        entry, kind = found.route.entry, found.route.kind
        query = Query(request.query_string, entry.export_params if kind == "export" else entry.list_params)
        rules: Sequence[ActiveRule] = ()
        if tenant:
            tenant.traffic.begin(f"{entry.name}.{kind}")
            later = (
                "from" in query
                if kind == "export"
                else kind == "list" and query.given.get("page", ["1"])[0] not in ("0", "1")
            )
            asked = RequestTraits(
                request.path, entry.name, kind, later_page=later, has_token=kind == "export" and "from" in query
            )
            rules = tenant.faults.striking(asked, tenant.settings)
            response = await self._struck(tenant, rules)
            if response is not None:
                return _cut(response, rules), tenant
            await tenant.ready(entry.name, *query.looks_into())
        try:
            return _cut(self._served(request, found, tenant, query, rules), rules), tenant
        except Refused as refusal:
            return refusal.response, tenant

    async def _struck(self, tenant: Tenant, rules: Sequence[ActiveRule]) -> Response | None:
        """The response of the first fault that has one; waits and revocations happen on the way."""
        for active in rules:
            rule = active.rule
            if rule.kind == "slow":
                await asyncio.sleep(rule.seconds)
            elif rule.kind == "revoke_tokens":
                self._world.tokens.revoke(tenant)
            elif rule.kind in _FAULT_RESPONSES:
                return _FAULT_RESPONSES[rule.kind](rule, tenant.settings)
        return None

    def _served(
        self, request: Request, found: Match, tenant: Tenant | None, query: Query, rules: Sequence[ActiveRule]
    ) -> Response:
        if request.method != "GET":
            response = error(405, "Method Not Allowed")
            response.headers["Allow"] = "GET"
            return response
        entry, clock = found.route.entry, self._world.clock
        caller = Caller(request.headers, request.environment, found.tenant_id, tenant, entry.scope)
        tenant = authorise(caller, self._world.tokens, clock.peek())
        limit = tenant.settings.rate_limit_per_second
        if limit is not None and tenant.traffic.per_second() > limit:
            return too_many_requests(1, header=tenant.settings.retry_after_header)
        return self._records(found, tenant, query, rules)

    def _records(self, found: Match, tenant: Tenant, query: Query, rules: Sequence[ActiveRule]) -> Response:
        entry = found.route.entry
        kinds = {active.rule.kind for active in rules}
        violations = [active for active in rules if active.rule.kind in CONTRACT_VIOLATIONS]
        for active in rules:
            if active.rule.kind == "row_changes_between_pages":
                self._move_rows(tenant, entry, active)

        def violated(data: list[bytes]) -> list[bytes]:
            return violate_contract(entry, data, violations) if violations else data

        match found.route.kind:
            case "detail":
                return detail(tenant, entry, found.record_id)
            case "nested":
                return self._lists.nested(tenant, entry, found.record_id, query)
            case "list":
                return self._lists.page(tenant, entry, query, violated, repeat="repeat_page" in kinds)
            case "export":
                feed = Feed(
                    entry, tenant.stores[entry.name], f"{tenant.environment}/{tenant.tenant_id}", tenant.settings
                )
                page = feed.page(query, self._world.clock.peek(), repeat="repeat_page" in kinds)
                return page.response(violated([row.body for row in page.rows]))

    def _move_rows(self, tenant: Tenant, entry: CatalogueEntry, active: ActiveRule) -> None:
        """Rows change while a client reads pages: some leave the earlier pages, some come back to them."""
        rows = active.rule.rows
        turn = "deactivated" if active.struck % 2 else "reactivated"
        has_active = any(field.name == "active" for field in entry.fields)
        asked = {"changed": {entry.name: rows}, **({turn: {entry.name: rows}} if has_active else {})}
        advance(tenant.company, self._world.clock, asked)


def _bare(rule: Rule, _: Settings) -> Response:
    if rule.body == "html":
        return Response(rule.status, HTML_PAGE, HTML)
    return Response(rule.status, b"") if rule.body == "empty" else error(rule.status)


def _slow_down(rule: Rule, settings: Settings) -> Response:
    return too_many_requests(rule.wait_seconds, header=rule.header or settings.retry_after_header)


_FAULT_RESPONSES: dict[str, Callable[[Rule, Settings], Response]] = {
    "status": _bare,
    "429": _slow_down,
    "rate_limit": _slow_down,
    "html_200": lambda *_: Response(200, HTML_PAGE, HTML),
    "not_json": lambda *_: Response(200, b'{"page":1,"pageSize":50,"hasMore":fal'),
    "drop_connection": lambda *_: Response(0, b"", delivery="dropped"),
    "reject_export_token": lambda *_: invalid("from", "The continuation token is not valid."),
}


def _cut(response: Response, rules: Sequence[ActiveRule]) -> Response:
    for active in rules:
        if active.rule.kind == "cut_body" and response.delivery == "whole":
            response.delivery = "truncated" if active.rule.how == "truncate" else "closed_midway"
    return response
