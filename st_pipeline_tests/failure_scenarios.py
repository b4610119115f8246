"""What goes wrong around a sync of `acme`, as blocks: while one lasts, it is wrong.

Here: the scenarios. Not here: tests, and what must come of it.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from st_pipeline_tests.acme import Acme
from st_pipeline_tests.leaks import EMAIL, NAME, PHONE

INVALID = (
    {"id": PHONE, "name": NAME},
    {"id": 501, "name": {"first": NAME, PHONE: EMAIL}},
    {"id": 502, "createdOn": PHONE},
    {"id": 503, "balance": EMAIL},
    {"id": 504, "active": NAME, EMAIL: [PHONE]},
    {"id": 505, "address": NAME},
    {"id": -506, "name": NAME},
    [PHONE, {"id": NAME}],
    NAME,
)


@contextmanager
def fault(acme: Acme, kind: str, **rule: Any) -> Iterator[None]:
    acme.source.fault(kind, **rule)
    yield
    acme.source.clear_faults()


@contextmanager
def invalid_records(acme: Acme) -> Iterator[None]:
    for record in INVALID:
        acme.source.insert("customers", json.dumps(record).encode())
    yield
    assert acme.value("SELECT count(*) FROM sync_rejects") == len(INVALID)


@contextmanager
def another_client_secret(acme: Acme) -> Iterator[None]:
    acme.source.revoke_tokens()
    acme.source.change(client_secret="cs.changed")
    yield
    acme.source.change(client_secret=acme.source.client_secret)


@contextmanager
def refusing_postgres(acme: Acme, statement: str, undo: str) -> Iterator[None]:
    """Postgres's own words quote the whole row."""
    acme.execute(statement)
    yield
    acme.execute(undo)


CONSTRAINT = (
    "ALTER TABLE st_customers ADD CONSTRAINT planted CHECK (name NOT LIKE 'Quentin %') NOT VALID",
    "ALTER TABLE st_customers DROP CONSTRAINT planted",
)
TRIGGER = (
    "CREATE OR REPLACE FUNCTION planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NEW; END $$; "
    "CREATE TRIGGER planted BEFORE INSERT OR UPDATE ON st_locations FOR EACH ROW EXECUTE FUNCTION planted()"
)
UNDO = "DROP TRIGGER planted ON st_locations"
QUOTES = TRIGGER.format(body="RAISE EXCEPTION 'bad: %', NEW USING ERRCODE = '22000', DETAIL = NEW::text"), UNDO
DIES = TRIGGER.format(body="PERFORM pg_terminate_backend(pg_backend_pid())"), UNDO
# What is wrong, and whether a sync still succeeds. In this order, on one tenant.
FAILURE_SCENARIOS: dict[str, tuple[Callable[[Acme], AbstractContextManager[None]], bool]] = {
    "nothing": (lambda acme: fault(acme, "slow", seconds=0), True),
    "every answer is 500": (lambda acme: fault(acme, "status", status=500), False),
    "every answer is 401": (lambda acme: fault(acme, "status", status=401), False),
    "every answer is 403": (lambda acme: fault(acme, "status", status=403), False),
    "every answer is HTML": (lambda acme: fault(acme, "html_200"), False),
    "every body is cut": (lambda acme: fault(acme, "cut_body"), False),
    "every connection breaks": (lambda acme: fault(acme, "drop_connection"), False),
    "the token address is down": (lambda acme: fault(acme, "status", status=503, entity="token"), True),
    "another client secret": (another_client_secret, False),
    "tokens are revoked": (lambda acme: fault(acme, "revoke_tokens", every_nth=5), True),
    "invalid records": (invalid_records, True),
    "Postgres refuses a value": (lambda acme: refusing_postgres(acme, *QUOTES), True),
    "Postgres refuses a chunk": (lambda acme: refusing_postgres(acme, *CONSTRAINT), False),
    "Postgres dies while it writes a chunk": (lambda acme: refusing_postgres(acme, *DIES), False),
}
