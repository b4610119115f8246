"""What people have switched off: everything, an environment, a company, an entity.

Here: the table switches, and what it means for a tenant. Not here: a tenant's own schedule (tenant_schedules), who asks
(postgres/poll_claims.py, tenants/, sync/), the command (cli/).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

Scope = Literal["everything", "environment", "company", "entity"]
# Is it off, for a tenant of credential `c` and company `co`? In SQL, as every claim asks it.
OFF = """
    EXISTS (SELECT FROM switches w WHERE w.scope = 'everything' OR (w.scope = 'environment' AND w.name = c.environment)
            OR (w.scope = 'company' AND w.name = co.slug))
"""
# The entities that schedules leave out, for a tenant of schedule `s`.
ENTITIES_OFF = """
    array_cat(coalesce(s.entities_off, '{}'), (SELECT coalesce(array_agg(name), '{}') FROM switches
                                               WHERE scope = 'entity'))
"""


@dataclass(frozen=True, slots=True)
class Switch:
    """A row: something that is off. `name` is empty for everything."""

    scope: Scope
    name: str
    off_since: datetime
    because: str | None

    def __str__(self) -> str:
        """For people."""
        what = self.scope if self.scope == "everything" else f"{self.scope} {self.name}"
        return f"{what} is switched off" + (f": {self.because}" if self.because else "")


@dataclass(frozen=True, slots=True)
class Switches:
    """All that is off at a moment."""

    off: Sequence[Switch] = ()

    def why_off(self, company: str, environment: str) -> str | None:
        """Why schedules skip a tenant; None when they do not."""
        covering = {("everything", ""), ("environment", environment), ("company", company)}
        return next((str(one) for one in self.off if (one.scope, one.name) in covering), None)


def load(connection: Connection) -> Switches:
    """What is off, the widest first."""
    order = "array_position(ARRAY['everything', 'environment', 'company', 'entity'], scope), name"
    rows = connection.execute(text(f"SELECT scope, name, off_since, because FROM switches ORDER BY {order}"))  # noqa: S608
    return Switches([Switch(*row) for row in rows])


def turn_off(connection: Connection, scope: Scope, name: str, because: str | None) -> bool:
    """Returns whether that, or its reason, is new."""
    statement = text("""
        INSERT INTO switches AS w (scope, name, because) VALUES (:scope, :name, :because)
        ON CONFLICT (scope, name) DO UPDATE SET because = excluded.because
        WHERE w.because IS DISTINCT FROM excluded.because
    """)
    return bool(connection.execute(statement, {"scope": scope, "name": name, "because": because}).rowcount)


def turn_on(connection: Connection, scope: Scope, name: str) -> bool:
    """Returns whether it was off."""
    statement = text("DELETE FROM switches WHERE scope = :scope AND name = :name")
    return bool(connection.execute(statement, {"scope": scope, "name": name}).rowcount)


def entities_off(connection: Connection, credential_id: int) -> frozenset[str]:
    """The entities that schedules leave out for a tenant, by its own schedule or for all."""
    query = text(f"""
        SELECT {ENTITIES_OFF} FROM (VALUES (CAST(:id AS bigint))) AS t (credential_id)
        LEFT JOIN tenant_schedules s USING (credential_id)
    """)  # noqa: S608 - constants
    return frozenset(connection.execute(query, {"id": credential_id}).scalar_one())
