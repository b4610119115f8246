"""Secrets that must not appear anywhere, and the search for them."""

from collections.abc import Iterator

from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from st_pipeline.settings import Environment, Settings
from st_pipeline.tenants.companies import add_company
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.tenants.store import Tenant, find_tenant
from st_pipeline.vault.encryption import Vault

CLIENT_ID = "cid.planted-client-id-0017"
CLIENT_SECRET = "cs1.planted-client-secret"
APP_KEY = "ak1.planted-app-key"
TOKEN = "eyJhbGciOi.planted-token.sig"
PLANTED = (CLIENT_ID, CLIENT_SECRET, APP_KEY, TOKEN)


def new_credential(
    company: str = "acme-plumbing",
    environment: Environment = "production",
    tenant_id: int = 1001,
    client_secret: str = CLIENT_SECRET,
    app_key: str | None = None,
    client_id: str = CLIENT_ID,
) -> NewCredential:
    """A credential whose secrets the search would find."""
    key = None if app_key is None else SecretStr(app_key)
    return NewCredential(company, environment, tenant_id, SecretStr(client_id), SecretStr(client_secret), key)


def put_tenant(engine: Engine, settings: Settings, new: NewCredential | None = None) -> Tenant:
    """Company and credential in the database."""
    new = new or new_credential()
    with engine.begin() as connection:
        add_company(connection, new.company, name=new.company.title())
        add_credential(connection, Vault.from_settings(settings), new)
        return find_tenant(connection, new.partition_key)


def everything_stored(connection: Connection) -> Iterator[bytes]:
    """Every row of every table of ours, as bytes: bytea columns raw, all else as Postgres writes it."""
    columns = connection.execute(
        text("SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = 'public'")
    ).all()
    values: dict[str, list[str]] = {}
    for table, column, kind in columns:
        value = f'"{column}"' if kind == "bytea" else f"convert_to(\"{column}\"::text, 'UTF8')"
        values.setdefault(table, []).append(value)
    for table, of_table in values.items():
        for row in connection.exec_driver_sql(f'SELECT {", ".join(of_table)} FROM "{table}"'):  # noqa: S608
            yield from (bytes(value) for value in row if value is not None)


def assert_nothing_planted(engine: Engine, *texts: str, secrets: tuple[str, ...] = PLANTED) -> None:
    """No secret is in any row, nor in these texts."""
    with engine.connect() as connection:
        stored = list(everything_stored(connection))
    assert len(stored) > 10
    for secret in secrets:
        assert not [value for value in stored if secret.encode() in value]
        assert not [shown for shown in texts if secret in shown]
