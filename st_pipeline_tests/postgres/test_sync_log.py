import uuid

from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.postgres.sync_log import SyncLog
from st_pipeline.protocol import Counts, Mode
from st_pipeline.settings import Settings
from st_pipeline.tenants.companies import add_company
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.vault.encryption import Vault


def test_closing_a_sync_closes_the_entity_whose_own_end_could_not_be_written(engine: Engine, settings: Settings):
    """Postgres may be away for 0.1 s when an entity fails, and be back when its sync is closed."""
    keys = SecretStr("cid.made-up"), SecretStr("cs.made-up")
    with engine.begin() as connection:
        add_company(connection, "acme", name="Acme")
        _, credential_id = add_credential(
            connection, Vault.from_settings(settings), NewCredential("acme", "production", 7, *keys)
        )
        log = SyncLog(credential_id, "acme", uuid.uuid4(), "manual", Mode.FULL, "all")
        for entity in ("customers", "invoices"):
            log.progress(connection, entity, Mode.FULL, Counts(processed=3), None)
        log.entity_ended(connection, "customers")
        log.ended(connection, "invoices: Postgres does not answer", {})
        rows = connection.execute(text("SELECT entity, status, message FROM sync_log_entities ORDER BY entity")).all()
    assert rows == [("customers", "completed", None), ("invoices", "failed", "the sync ended before it did")]
