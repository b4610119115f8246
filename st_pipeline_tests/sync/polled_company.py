"""A company whose polls a test makes, one by one.

Here: its claim, its poll, its look, and what they asked and wrote. Not here: what must be true of them.
"""

import uuid
from dataclasses import dataclass
from typing import Any

from st_pipeline.postgres import cursors, poll_claims
from st_pipeline.postgres.poll_claims import Claim, PollEnd
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline
from st_pipeline.sync.look import Look, look_at
from st_pipeline.sync.poll_policy import plan
from st_pipeline.sync.polling import POLL, TenantPoll, by_tenant, poll_batch
from st_pipeline.sync.stream_owner import stream_owners
from st_pipeline.sync.tenant import TenantSync
from st_pipeline.tenants.poll_tenants import load_poll_tenants
from st_pipeline_tests.acme import Acme

RUN = uuid.UUID(int=7)
SIZES = {"customers": 12, "invoices": 20, "settings": {"rate_limit_per_second": None}}
TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


@dataclass
class Polled(Acme):
    """A synced company whose polls a test makes."""

    def claim(self, **changes: Any) -> Claim:
        """Its claim, as a worker would have it."""
        self.execute(
            "INSERT INTO tenant_polls (credential_id, due_at, tokens_saved_at, hourly_at) "
            "SELECT id, now(), now(), now() FROM servicetitan_credentials "
            "ON CONFLICT (credential_id) DO UPDATE SET due_at = now(), claimed_until = NULL, claimed_by = NULL"
        )
        for name, value in changes.items():
            self.execute(f"UPDATE tenant_polls SET {name} = {value}")  # noqa: S608 - of the test itself
        with self.engine.begin() as connection:
            (claim,) = poll_claims.claim(connection, run_id=RUN, limit=5, budget_seconds=60)
        return claim

    def poll(self, deadline: Deadline = NO_DEADLINE, **changes: Any) -> TenantPoll:
        """One poll of it."""
        self.source.requests(reset=True)
        (poll,) = poll_batch(self.engine, self.settings, [self.claim(**changes)], run_id=RUN, deadline=deadline)
        return poll

    def ended_poll(self, **changes: Any) -> TenantPoll:
        """One poll of it whose end is noted as a worker does."""
        poll = self.poll(**changes)
        polled_at = poll.claim.claimed_at if poll.all_feeds_answered else None
        end = PollEnd(poll.claim.credential_id, poll.claim.due_at, polled_at, hourly_at=poll.hourly_at,
                      unanswered=poll.unanswered)  # fmt: skip
        with self.engine.begin() as connection:
            assert poll_claims.ended(connection, RUN, [end]) == 1
        return poll

    def complete_through(self) -> dict[str, Any]:
        """Up to when each entity and stream is complete, as people see it."""
        return dict(self.rows("SELECT entity, last_complete_through FROM last_complete_through"))

    def asked(self) -> dict[str, int]:
        """How often each feed and list was asked since the poll began."""
        by_operation: dict[str, int] = self.source.requests()["by_operation"]
        return by_operation

    def written(self) -> dict[str, str]:
        """The rows and the newest transaction of each table but tenant_polls: any write shows."""
        return {
            name: str(self.rows(f"SELECT count(*), max(CAST(CAST(xmin AS text) AS bigint)) FROM {name}"))  # noqa: S608
            for (name,) in self.rows(TABLES)
            if name != "tenant_polls"
        }

    def look(self) -> Look:
        """A look at it, as a poll begins with one."""
        claim = self.claim()
        of = claim.credential_id
        with self.engine.begin() as connection:
            known = load_poll_tenants(connection, self.settings, [of])[of]
            held, owners = by_tenant(cursors.load_all(connection, [of])), by_tenant(stream_owners(connection, [of]))
        assert known.authentication is not None
        client = ServiceTitanClient(known.authentication, self.settings)
        entities = plan(POLL, self.settings, held[of], first_loads=False, lists_polled_at=claim.hourly_at)
        look = Look("acme", of, client, NO_DEADLINE, entities, held[of], owners[of], claim.claimed_at)
        look_at(look, self.engine)
        return look

    def enter(self, look: Look) -> TenantSync:
        """The sync that follows a look."""
        sync = TenantSync(self.engine, self.settings, "acme", POLL, sync_id=RUN, first_loads=False, look=look)
        with sync:
            for _ in sync.entities():
                pass
        return sync
