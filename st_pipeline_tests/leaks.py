"""Values that must stay where they belong, and the search for them in everything that is said and stored.

Here: the forms a value can hide in, the places that are listened to. Not here: tests, and what makes the engine talk.
"""

import base64
import json
import logging
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import quote_plus

from sqlalchemy import Engine, text

from st_pipeline_tests.acme import Acme

NAME, PHONE, EMAIL = "Quentin Plantagenet-Zyx", "(917) 555-0143 x7719", "quentin@plantagenet-zyx.example"
CUSTOMERS = {"a customer's name": NAME, "a customer's phone": PHONE, "a customer's e-mail": EMAIL}
EVERY_TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjVBMUMwRkZFR"  # how all tokens of the simulator begin
# Where a customer's data belongs: a record's own table, the streams made from it, and the bytes of one set aside.
HOLDS_RECORDS = re.compile(r"st_\w+|members_stream|invoices_stream")
QUIETER = {"sqlalchemy": logging.INFO}  # at DEBUG it logs each row it reads, whatever it is
LISTENED_TO = ("", "httpx", "httpcore", "psycopg", "sqlalchemy", "st_pipeline", "dagster")


def forms(value: str) -> dict[str, str]:
    """The value as it would stand in a text: clear, escaped, hex, base64 at each of three places in a longer one."""
    raw = value.encode()
    found = {"clear": value, "JSON": json.dumps(value)[1:-1], "URL": quote_plus(value), "hex": raw.hex()}
    found["HEX"] = found["hex"].upper()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode()
        core = encoded[(0, 2, 3)[before] : (before + len(raw)) * 8 // 6]
        found[f"base64 at {before}"] = core
        found[f"base64url at {before}"] = core.replace("+", "-").replace("/", "_")
    return found


@dataclass
class Leaks:
    """`secrets` may be nowhere in clear; `customers` only where records are kept. Both by what they are."""

    secrets: Mapping[str, str]
    customers: Mapping[str, str]
    heard: list[tuple[str, str]] = field(default_factory=list)

    def hear(self, where: str, what: object) -> None:
        """Something that was said or shown."""
        if isinstance(what, BaseException):
            shown = "".join(traceback.format_exception(what))
            causes = []
            cause: BaseException | None = what
            while cause is not None:
                causes.append(f"{cause} {cause!r} {cause.args!r}")
                cause = cause.__cause__
            what = "\n".join([shown, *causes])
        self.heard.append((where, str(what)))

    def hear_database(self, engine: Engine) -> None:
        """Every row of every table as JSON, bytes as hex, but for what holds records."""
        for table, row in _rows(engine, without="record"):
            if not HOLDS_RECORDS.fullmatch(table):
                self.heard.append((f"table {table}", row))

    @property
    def places(self) -> set[str]:
        """Where anything was heard."""
        return {where for where, _ in self.heard}

    def found(self) -> list[str]:
        """Every value that was heard, as which form, and where."""
        return _search({**self.secrets, **self.customers}, self.heard)

    def at_rest(self, engine: Engine) -> list[str]:
        """Every secret in the database, records included."""
        return _search(self.secrets, [(f"table {table}", row) for table, row in _rows(engine)])


def _search(values: Mapping[str, str], heard: list[tuple[str, str]]) -> list[str]:
    said: dict[str, list[str]] = {}
    for where, what in heard:
        said.setdefault(where, []).append(what)
    texts = {where: "\n".join(lines) for where, lines in said.items()}
    return [
        f"{name} ({form}) in {where}: {_around(shown, hidden)}"
        for name, value in values.items()
        for form, hidden in forms(value).items()
        for where, shown in texts.items()
        if hidden in shown
    ]


def _around(shown: str, hidden: str) -> str:
    place = shown.index(hidden)
    return shown[max(0, place - 60) : place + 60]


def _rows(engine: Engine, *, without: str = "") -> list[tuple[str, str]]:
    """Every row of every table of ours as JSON, without that column."""
    tables = (
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"
    )
    with engine.connect() as connection:
        rows = []
        for table in connection.execute(text(tables)).scalars().all():
            query = text(f"SELECT (to_jsonb(t) - :without)::text FROM {table} t")  # noqa: S608 - our own tables
            rows += [(table, row) for row in connection.execute(query, {"without": without}).scalars()]
        return rows


class Ear(logging.Handler):
    """Hears every line of stdlib logging, traces included, whatever level its logger is set to."""

    def __init__(self, leaks: Leaks) -> None:
        super().__init__(logging.DEBUG)
        self.leaks = leaks

    def emit(self, record: logging.LogRecord) -> None:
        """Hear a line, and the values that were passed along with it."""
        self.leaks.hear(f"logger {record.name}", f"{self.format(record)} {record.args!r}")

    def __enter__(self) -> Self:
        """Listen, and have the loggers speak."""
        self._before = {name: logging.getLogger(name).level for name in LISTENED_TO}
        for name in LISTENED_TO:
            logging.getLogger(name).setLevel(QUIETER.get(name, logging.DEBUG))
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the loggers as they were."""
        logging.getLogger().removeHandler(self)
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)


def plant(acme: Acme) -> Leaks:
    """What to look for; the customer is in every entity that can hold one."""
    source, url = acme.source, acme.engine.url
    assert acme.settings.encryption_keys is not None
    source.patch("customers", source.ids("customers")[0], {"name": NAME, "address": {"street": PHONE, "city": EMAIL}})
    source.patch("locations", source.ids("locations")[0], {"name": NAME})
    for contact, value in zip(source.ids("customer_contacts"), (PHONE, EMAIL), strict=False):
        source.patch(
            "customer_contacts", contact, {"value": value, "memo": NAME, "phoneSettings": {"phoneNumber": PHONE}}
        )
    invoice = source.ids("invoices")[0]
    source.patch("invoices", invoice, {"summary": f"call {PHONE}, mail {EMAIL}", "customer": {"id": 1, "name": NAME}})
    secrets = {
        "client id": source.client_id,
        "client secret": source.client_secret,
        "app key": source.app_key,
        "access token": EVERY_TOKEN,
        "encryption key": acme.settings.encryption_keys.get_secret_value().partition(":")[2],
        "database password": str(url.password),
    }
    return Leaks(secrets, CUSTOMERS)
