"""The companies of the platform: table `companies`.

Here: adding, changing and finding them. Not here: their credentials (store).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from st_pipeline.errors import ConfigurationError
from st_pipeline.suggestions import did_you_mean

SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
SLUG_FORM = "use a to z, 0 to 9 and hyphens, at most 63 characters, and do not begin with a hyphen"
INTACCT_ID_TAKEN = "companies_intacct_id_key"


@dataclass(frozen=True, slots=True)
class Company:
    """A row. `intacct_id`: the company's id downstream; without it the company has no records in the streams."""

    id: int
    slug: str
    name: str
    intacct_id: str | None
    trade: str | None
    enabled: bool


_FIELDS = ", ".join(Company.__slots__)


def check_slug(slug: str) -> str:
    """The slug. Raises ConfigurationError unless it is valid: it becomes a partition key and never changes."""
    if not SLUG.fullmatch(slug):
        raise ConfigurationError(f"{slug!r} is not a valid company slug: {SLUG_FORM}, like acme-plumbing")
    return slug


def add_company(
    connection: Connection, slug: str, *, name: str, intacct_id: str | None = None, trade: str | None = None
) -> bool:
    """Add a company. False: it exists with these values already; one that is None is not compared.

    Raises ConfigurationError: an invalid value, other values than the stored ones, another company's Intacct id.
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
            f"company {slug} already exists with {now}: to change it, use `st-pipeline companies update {slug}`"
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
    """Change some fields; None keeps one as it is. False: nothing was different.

    Raises ConfigurationError: an unknown company, an invalid value, another company's Intacct id.
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


def remove_company(connection: Connection, slug: str) -> None:
    """Remove a company without tenants. Raises ConfigurationError: an unknown company, or one that has tenants."""
    company = get_company(connection, slug)
    query = text("SELECT partition_key FROM tenants WHERE company = :slug ORDER BY partition_key")
    left = list(connection.execute(query, {"slug": slug}).scalars())
    if left:
        commands = "; ".join(f"`st-pipeline credentials remove {tenant}`" for tenant in left)
        raise ConfigurationError(f"company {slug} still has credentials: remove them first with {commands}")
    connection.execute(text("DELETE FROM companies WHERE id = :id"), {"id": company.id})


def get_company(connection: Connection, slug: str) -> Company:
    """The company. Raises ConfigurationError that suggests similar names."""
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
    """The message for an unknown name: similar names, and the command that lists or adds them."""
    known = sorted(names)
    if not known:
        return f"unknown {kind} {name!r}: none has been added yet; add one with `st-pipeline {group} add`"
    hint = did_you_mean(name, known)
    return f"unknown {kind} {name!r}: {hint}{' ' if hint else ''}`st-pipeline {group} list` shows all"


def check_texts(values: Mapping[str, str | bool | None]) -> None:
    """Raise ConfigurationError for a text that is empty, has blanks around it, or would not print in a terminal."""
    for field, value in values.items():
        if isinstance(value, str) and (not value or value != value.strip() or not value.isprintable()):
            raise ConfigurationError(
                f"the company's {field.replace('_', ' ')} is empty, has blanks around it, or contains characters that "
                "cannot be printed: write it without those"
            )


def _taken(connection: Connection, error: IntegrityError, intacct_id: object) -> Exception:
    """Our own error for an Intacct id that is taken; the error itself for any other constraint."""
    if constraint_of(error) != INTACCT_ID_TAKEN:
        return error
    sql = text("SELECT slug FROM companies WHERE intacct_id = :intacct_id")
    slug = connection.execute(sql, {"intacct_id": intacct_id}).scalar_one_or_none()
    return ConfigurationError(f"Intacct id {intacct_id} belongs to company {slug}: give each company its own")


def constraint_of(error: IntegrityError) -> str | None:
    """The constraint that was violated, from Postgres's protocol and not from the message."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name
