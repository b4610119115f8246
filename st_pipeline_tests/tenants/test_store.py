from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from st_pipeline.errors import ConfigurationError, DatabaseUnavailable
from st_pipeline.postgres import cursors
from st_pipeline.postgres.database import open_engine
from st_pipeline.servicetitan.tenant_authentication import Token
from st_pipeline.settings import Settings
from st_pipeline.tenants import store
from st_pipeline.tenants.companies import add_company, update_company
from st_pipeline.tenants.registration import add_credential
from st_pipeline.vault.encryption import Vault
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import new_credential, put_tenant


def execute(engine: Engine, sql: str, **values: object) -> None:
    with engine.begin() as connection:
        connection.execute(text(sql), values)


def load_authentication(engine: Engine, settings: Settings, tenant: str):
    with engine.connect() as connection:
        return store.load_authentication(connection, settings, tenant)


def test_added_credentials_can_be_loaded(engine: Engine, settings: Settings):
    put_tenant(engine, settings, new_credential(environment="integration", app_key=planted.APP_KEY))
    authentication = load_authentication(engine, settings, "acme-plumbing@integration")
    assert (authentication.tenant, authentication.environment, authentication.servicetitan_tenant_id) == (
        "acme-plumbing@integration",
        "integration",
        1001,
    )
    assert authentication.client_id.get_secret_value() == planted.CLIENT_ID
    assert authentication.client_secret.get_secret_value() == planted.CLIENT_SECRET
    assert authentication.app_key.get_secret_value() == planted.APP_KEY
    assert authentication.api_url == "https://api-integration.servicetitan.io"
    assert authentication.auth_url == "https://auth-integration.servicetitan.io/connect/token"


def test_secrets_are_masked_wherever_they_are_printed(engine: Engine, settings: Settings):
    new = new_credential(app_key=planted.APP_KEY)
    tenant = put_tenant(engine, settings, new)
    authentication = load_authentication(engine, settings, "acme-plumbing")
    tokens = store.PostgresTokenStore(engine, settings, tenant)
    token = Token(SecretStr(planted.TOKEN), datetime.now(UTC))
    tokens.save(token)
    shown = f"{new!r} {new} {tenant!r} {authentication!r} {authentication} {tokens.load()!r} {vars(tokens)!r} {token!r}"
    planted.assert_nothing_planted(engine, shown)


def test_the_settings_app_key_is_used_where_a_tenant_has_none(engine: Engine, settings: Settings):
    put_tenant(engine, settings)
    assert load_authentication(engine, settings, "acme-plumbing").app_key == settings.app_key


@pytest.mark.parametrize("app_key", ["", "ak1.planted\n", "ak1.planted key"])
def test_a_malformed_app_key_in_the_settings_is_named_and_not_shown(engine: Engine, settings: Settings, app_key: str):
    put_tenant(engine, settings)
    with pytest.raises(ConfigurationError, match="the app key in ST_PIPELINE_APP_KEY") as refused:
        load_authentication(engine, settings.model_copy(update={"app_key": SecretStr(app_key)}), "acme-plumbing")
    assert "planted" not in str(refused.value)


def test_no_app_key_at_all_says_where_to_put_one(engine: Engine, settings: Settings):
    put_tenant(engine, settings)
    with pytest.raises(ConfigurationError, match="acme-plumbing has no app key: set ST_PIPELINE_APP_KEY"):
        load_authentication(engine, settings.model_copy(update={"app_key": None}), "acme-plumbing")


def test_an_unknown_tenant_is_told_its_nearest_names(engine: Engine, settings: Settings):
    with pytest.raises(ConfigurationError, match="none has been added yet; add one with `st-pipeline credentials add`"):
        load_authentication(engine, settings, "acme")
    put_tenant(engine, settings)
    put_tenant(engine, settings, new_credential(environment="integration", tenant_id=2))
    for name in ("acme-plumbin", "Acme-Plumbing", "acme-plumbing@production", "acme-plumbing@integratoin"):
        with pytest.raises(ConfigurationError, match=r"did you mean .*acme-plumbing.*`st-pipeline credentials list`"):
            load_authentication(engine, settings, name)
    with pytest.raises(
        ConfigurationError, match=r"^unknown tenant 'zzz\\n': `st-pipeline credentials list` shows all$"
    ):
        load_authentication(engine, settings, "zzz\n")


def test_a_secret_copied_from_another_row_cannot_be_used(engine: Engine, settings: Settings):
    """Whoever may write to the database must not be able to fill one company's rows with another's records."""
    put_tenant(engine, settings)
    other = put_tenant(engine, settings, new_credential(company="other", tenant_id=2, client_secret="cs1.other"))
    execute(
        engine,
        "UPDATE servicetitan_credentials SET (client_id, client_secret) = "
        "(SELECT client_id, client_secret FROM servicetitan_credentials WHERE id <> :id) WHERE id = :id",
        id=other.credential_id,
    )
    with pytest.raises(ConfigurationError, match="client_id of other cannot be decrypted"):
        load_authentication(engine, settings, "other")


def test_another_keyring_is_told_apart_from_a_wrong_secret(engine: Engine, settings: Settings):
    put_tenant(engine, settings)
    other = settings.model_copy(update={"encryption_keys": SecretStr("9:" + "A" * 43 + "=")})
    with pytest.raises(ConfigurationError, match="was encrypted with key 1, which"):
        load_authentication(engine, other, "acme-plumbing")


def test_only_enabled_tenants_are_listed_for_syncs(engine: Engine, settings: Settings):
    put_tenant(engine, settings)
    put_tenant(engine, settings, new_credential(environment="integration", tenant_id=2))
    put_tenant(engine, settings, new_credential(company="other", tenant_id=3))
    execute(engine, "UPDATE servicetitan_credentials SET enabled = false WHERE tenant_id = 2")
    with engine.begin() as connection:
        update_company(connection, "other", enabled=False)
        assert [t.partition_key for t in store.enabled_tenants(connection)] == ["acme-plumbing"]
        assert [t.partition_key for t in store.all_tenants(connection)] == [
            "acme-plumbing", "acme-plumbing@integration", "other",
        ]  # fmt: skip


def test_the_state_of_a_connection_follows_what_happened(engine: Engine, settings: Settings):
    tenant = put_tenant(engine, settings)
    assert (tenant.connection_status, tenant.last_tested_at, tenant.is_pollable) == ("pending", None, False)
    with engine.begin() as connection:
        store.mark_error(connection, tenant.credential_id, "refused " + "x" * 5000)
        refused = store.find_tenant(connection, "acme-plumbing")
        store.mark_connected(connection, tenant.credential_id, "invoices cannot be read")
        tested = store.find_tenant(connection, "acme-plumbing")
        store.mark_synced(connection, tenant.credential_id, entities=[])
        synced = store.find_tenant(connection, "acme-plumbing")
    assert (refused.connection_status, len(refused.connection_message or "")) == ("error", store.LONGEST_MESSAGE)
    assert refused.last_tested_at is not None
    assert not refused.is_pollable
    assert (tested.connection_status, tested.connection_message) == ("connected", "invoices cannot be read")
    assert (synced.connection_status, synced.connection_message, synced.is_pollable) == ("connected", None, True)


def test_missing_scopes_are_shown_until_every_entity_has_been_read_since(engine: Engine, settings: Settings):
    """A sync of customers alone says nothing about invoices."""
    tenant = put_tenant(engine, settings)
    entities = ["customers", "invoices"]

    def message_after_sync(refused: str | None = None) -> str | None:
        with engine.begin() as connection:
            store.mark_synced(connection, tenant.credential_id, entities=entities, refused=refused)
        with engine.connect() as connection:
            return store.find_tenant(connection, tenant.partition_key).connection_message

    def polled(entity: str, **changes: object) -> None:
        with engine.begin() as connection:
            cursors.save(connection, tenant.credential_id, entity, **changes)

    polled("invoices", last_polled_at="now")  # before the test
    with engine.begin() as connection:
        store.mark_connected(connection, tenant.credential_id, "Scopes are missing for invoices")
    polled("customers", last_polled_at="now")
    assert message_after_sync() == "Scopes are missing for invoices"
    polled("invoices", last_polled_at="now", last_failed_at="now")
    assert message_after_sync("invoices: HTTP 403") == "Scopes are missing for invoices"
    polled("invoices", last_polled_at="now", last_failed_at=None)
    assert message_after_sync() is None
    assert message_after_sync("invoices: HTTP 403") == "invoices: HTTP 403"
    assert message_after_sync() is None


def test_the_database_itself_refuses_what_the_code_never_writes(engine: Engine, settings: Settings):
    tenant = put_tenant(engine, settings)
    for change in (
        "refresh_token = 'x'",
        "environment = 'staging'",
        "connection_status = 'fine'",
        "tenant_id = 0",
    ):
        with pytest.raises(IntegrityError):
            execute(engine, f"UPDATE servicetitan_credentials SET {change} WHERE id = {tenant.credential_id}")  # noqa: S608


def test_two_processes_share_a_token(engine: Engine, settings: Settings):
    tenant = put_tenant(engine, settings)
    other = open_engine(engine.url)
    here, there = (store.PostgresTokenStore(e, settings, tenant) for e in (engine, other))
    ends = datetime.now(UTC) + timedelta(seconds=900)
    assert there.load() is None
    here.save(Token(SecretStr(planted.TOKEN), ends))
    assert there.load() == Token(SecretStr(planted.TOKEN), ends)
    planted.assert_nothing_planted(engine)
    there.save(None)
    assert here.load() is None
    other.dispose()


def test_a_token_that_cannot_be_decrypted_is_fetched_anew(engine: Engine, settings: Settings):
    """A token from another row must not be used, and a rotated keyring must not stop a sync: a new one is fetched."""
    first = put_tenant(engine, settings)
    second = put_tenant(engine, settings, new_credential(company="other", tenant_id=2))
    token = Token(SecretStr(planted.TOKEN), datetime.now(UTC) + timedelta(seconds=900))
    store.PostgresTokenStore(engine, settings, first).save(token)
    execute(
        engine,
        "UPDATE servicetitan_credentials SET (access_token, token_expires_at) = (SELECT access_token, "
        "token_expires_at FROM servicetitan_credentials WHERE id = :first) WHERE id = :second",
        first=first.credential_id,
        second=second.credential_id,
    )
    assert store.PostgresTokenStore(engine, settings, second).load() is None
    assert store.PostgresTokenStore(engine, settings, first).load() == token


def test_a_token_stays_when_the_chunk_it_was_fetched_in_is_rolled_back(engine: Engine, settings: Settings):
    tenant = put_tenant(engine, settings)
    tokens = store.PostgresTokenStore(engine, settings, tenant)
    with engine.connect() as connection:
        connection.execute(text("UPDATE companies SET trade = 'hvac'"))
        tokens.save(Token(SecretStr(planted.TOKEN), datetime.now(UTC)))
        connection.rollback()
    assert tokens.load() is not None


def test_a_lost_database_is_named_as_such(settings: Settings, engine: Engine):
    tenant = put_tenant(engine, settings)
    nowhere = open_engine(engine.url.set(port=1))
    with pytest.raises(DatabaseUnavailable, match=r"load the token of tenant acme-plumbing: Postgres at \S+ does not"):
        store.PostgresTokenStore(nowhere, settings, tenant).load()


def test_keys_are_read_as_they_are_stored_now(engine: Engine, settings: Settings):
    """A sync whose secret is refused reads them again."""
    tenant = put_tenant(engine, settings)
    tokens = store.PostgresTokenStore(engine, settings, tenant)
    keys = tokens.keys()
    assert keys is not None
    assert (keys.client_id.get_secret_value(), keys.client_secret.get_secret_value()) == (
        planted.CLIENT_ID, planted.CLIENT_SECRET,
    )  # fmt: skip
    planted.assert_nothing_planted(engine, repr(keys))
    execute(engine, "UPDATE servicetitan_credentials SET client_secret = '\\x00'")
    assert tokens.keys() is None
    execute(engine, "DELETE FROM servicetitan_credentials")
    assert tokens.keys() is None


def test_tokens_are_counted_in_one_row_a_tenant_and_day_and_leave_the_trail_alone(engine: Engine, settings: Settings):
    """In the trail they were 96 rows a tenant and day, among which a person finds nothing."""
    tenant = put_tenant(engine, settings)
    tokens = store.PostgresTokenStore(engine, settings, tenant)
    for hour in (8, 9):
        tokens.save(Token(SecretStr(planted.TOKEN), datetime(2027, 1, 31, hour, tzinfo=UTC)))
    tokens.save(None)
    with engine.begin() as connection:
        connection.execute(text("UPDATE token_refreshes SET day = day - 1"))
    tokens.save(Token(SecretStr(planted.TOKEN), datetime(2027, 1, 31, 10, tzinfo=UTC)))
    with engine.connect() as connection:
        counted = connection.execute(text("SELECT credential_id, refreshes FROM token_refreshes ORDER BY day")).all()
        assert connection.execute(text("SELECT count(*) FROM audit_log")).scalar_one() == 0
    assert counted == [(tenant.credential_id, 2), (tenant.credential_id, 1)]


def test_a_token_of_a_removed_tenant_is_not_counted(engine: Engine, settings: Settings):
    tokens = store.PostgresTokenStore(engine, settings, put_tenant(engine, settings))
    execute(engine, "DELETE FROM servicetitan_credentials")
    tokens.save(Token(SecretStr(planted.TOKEN), datetime(2027, 1, 31, 9, tzinfo=UTC)))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM token_refreshes")).scalar_one() == 0


def test_the_view_and_the_code_agree_on_partition_keys(engine: Engine, settings: Settings):
    new = new_credential(environment="integration")
    with engine.begin() as connection:
        add_company(connection, new.company, name="Acme")
        add_credential(connection, Vault.from_settings(settings), new)
        assert connection.execute(text("SELECT partition_key FROM tenants")).scalar_one() == new.partition_key
