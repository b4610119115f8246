"""The rights that the docs give the pipeline's role: enough for everything, and the audit trail cannot be rewritten."""

from collections.abc import Iterator
from dataclasses import replace
from secrets import token_hex

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.postgres.database import open_engine
from st_pipeline.tenants import audit, purge, removal, store
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.documents import PAGES


@pytest.fixture
def restricted(acme: Acme) -> Iterator[Engine]:
    """The database for a role that has the documented rights and owns nothing."""
    role = f"st_app_{token_hex(4)}"
    page = next(page for page in PAGES if page.name == "credentials.md")
    grants = next(block for block in page.blocks("text") if "GRANT" in block).replace("st_app", role)
    acme.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'made-up'")
    acme.execute(grants)
    engine = open_engine(acme.engine.url.set(username=role, password="made-up"))
    yield engine
    engine.dispose()
    acme.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_the_documented_rights_do_for_everything_but_rewriting_the_trail(acme: Acme, restricted: Engine):
    url = SecretStr(restricted.url.render_as_string(hide_password=False))
    app = replace(acme, engine=restricted, settings=acme.settings.model_copy(update={"database_url": url}))
    assert app.sync(incremental_only=False).success
    assert acme.differences() == []
    with restricted.connect() as connection:
        tenant = store.find_tenant(connection, "acme")
    removal.remove_credential(restricted, tenant)
    assert purge.purge_rows(restricted, tenant.credential_id).rows_deleted > 500
    with restricted.begin() as connection:
        audit.record(connection, "credentials.add", tenant="acme", credential_id=1, result="done")
    for rewriting in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with restricted.connect() as connection, pytest.raises(Exception, match="permission denied"):
            connection.execute(text(rewriting))
