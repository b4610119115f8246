"""The companies of the platform: table `companies`.

Here: adding, changing and finding them. Not here: their credentials (store.py).
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from st_pipeline.errors import ConfigurationError

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
INTACCT_ID_TAKEN = "companies_intacct_id_key"


@dataclass(frozen=True, slots=True)
class Company:
    """One row. `intacct_id` is the company's id downstream; without it the company feeds no stream."""

    id: int
    slug: str
    name: str
    intacct_id: str | None
    trade: str | None
    enabled: bool


_FIELDS = ", ".join(Company.__slots__)


def check_slug(slug: str) -> str:
    """The slug. Raises ConfigurationError unless it is one: it becomes a partition key and never changes."""
    if not SLUG.fullmatch(slug):
        raise ConfigurationError(
            f"{slug!r} is no company slug: use a to z, 0 to 9 and hyphens, not first a hyphen, at most 63 "
            "characters, like acme-plumbing"
        )
    return slug


def add_company(
    connection: Connection, slug: str, *, name: str, intacct_id: str | None = None, trade: str | None = None
) -> bool:
    """Add a company. False: it exists with these values (one that is None is not compared).

    Raises ConfigurationError: a malformed value, other values than before, an Intacct id that another company has.
    """
    check_slug(slug)
    values = {"name": name, "intacct_id": intacct_id, "trade": trade}
    check_texts(values)
    sql = text(
        "INSERT INTO companies (slug, name, intacct_id, trade) VALUES (:slug, :name, :intacct_id, :trade) "
        "ON CONFLICT (slug) DO NOTHING RETURNING id"
    )
    try:
        with connection.begin_nested():
            added = connection.execute(sql, {"slug": slug, **values}).one_or_none() is not None
    except IntegrityError as error:
        raise _taken(connection, error, intacct_id) from None
    if added:
        return True
    company = get_company(connection, slug)
    others = [n for n, value in values.items() if value is not None and value != getattr(company, n)]
    if others:
        now = ", ".join(f"{field} {getattr(company, field)!r}" for field in others)
        raise ConfigurationError(
            f"company {slug} exists with {now}: to change it, use `st-pipeline companies update {slug}`"
        )
    return False


def update_company(
    connection: Connection,
    slug: str,
    *,
    name: str | None = None,
    intacct_id: str | None = None,
    trade: str | None = None,
    enabled: bool | None = None,
) -> bool:
    """Change some fields; None leaves one as it is. False: nothing was different.

    Raises ConfigurationError: an unknown company, a malformed value, an Intacct id that another company has.
    """
    company = get_company(connection, slug)
    wanted: dict[str, str | bool | None] = {"name": name, "intacct_id": intacct_id, "trade": trade, "enabled": enabled}
    check_texts(wanted)
    different = {f: value for f, value in wanted.items() if value is not None and value != getattr(company, f)}
    if not different:
        return False
    assignments = ", ".join(f"{field} = :{field}" for field in different)
    sql = text(f"UPDATE companies SET {assignments}, updated_at = now() WHERE id = :id")  # noqa: S608
    try:
        with connection.begin_nested():
            connection.execute(sql, {"id": company.id, **different})
    except IntegrityError as error:
        raise _taken(connection, error, intacct_id) from None
    return True


def get_company(connection: Connection, slug: str) -> Company:
    """The company. Raises ConfigurationError that names the nearest ones."""
    check_slug(slug)
    row = connection.execute(text(f"SELECT {_FIELDS} FROM companies WHERE slug = :slug"), {"slug": slug}).one_or_none()  # noqa: S608
    if row is None:
        slugs = connection.execute(text("SELECT slug FROM companies")).scalars()
        raise ConfigurationError(unknown("company", slug, slugs, "companies"))
    return Company(*row)


def list_companies(connection: Connection) -> list[Company]:
    """All, by slug."""
    return [Company(*row) for row in connection.execute(text(f"SELECT {_FIELDS} FROM companies ORDER BY slug"))]  # noqa: S608


def unknown(kind: str, name: str, names: Iterable[str], group: str) -> str:
    """The line for a name that is not there: the nearest ones, and the command that lists or adds them."""
    known = sorted(names)
    if not known:
        return f"unknown {kind} {name!r}: there is none yet; add one with `st-pipeline {group} add`"
    begun = [known_name for known_name in known if name and known_name.startswith(name.lower())]
    near = begun[:3] or difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"unknown {kind} {name!r}: {hint}`st-pipeline {group} list` shows all"


def check_texts(values: Mapping[str, str | bool | None]) -> None:
    """Stored text ends up in tables, logs and terminals: no blanks around it, no control characters."""
    for field, value in values.items():
        if isinstance(value, str) and (not value or value != value.strip() or not value.isprintable()):
            raise ConfigurationError(
                f"the company's {field.replace('_', ' ')} is empty, has blanks around it or characters that cannot "
                "be printed: write it plainly"
            )


def _taken(connection: Connection, error: IntegrityError, intacct_id: object) -> Exception:
    """Our error for a taken Intacct id; any other broken constraint as it came."""
    if constraint_of(error) != INTACCT_ID_TAKEN:
        return error
    sql = text("SELECT slug FROM companies WHERE intacct_id = :intacct_id")
    slug = connection.execute(sql, {"intacct_id": intacct_id}).scalar_one_or_none()
    return ConfigurationError(f"Intacct id {intacct_id} belongs to company {slug}: each company has its own")


def constraint_of(error: IntegrityError) -> str | None:
    """The constraint Postgres names, from its protocol and not from the message."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name
