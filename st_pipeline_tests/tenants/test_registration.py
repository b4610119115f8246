"""Adding companies and credentials: what repeats harmlessly, what is refused, what may be replaced."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import cursors
from st_pipeline.servicetitan.tenant_authentication import Token
from st_pipeline.settings import Settings
from st_pipeline.tenants import companies, store
from st_pipeline.tenants.registration import NewCredential, add_credential
from st_pipeline.vault.encryption import Vault, generate_key
from st_pipeline_tests.tenants import planted
from st_pipeline_tests.tenants.planted import new_credential, put_tenant


def add_company(engine: Engine, slug: str = "acme-plumbing", **values: Any) -> bool:
    with engine.begin() as connection:
        return companies.add_company(connection, slug, **{"name": "Acme", **values})


def add(engine: Engine, settings: Settings, new: NewCredential, *, replace: bool = False) -> str:
    with engine.begin() as connection:
        return add_credential(connection, Vault.from_settings(settings), new, replace=replace)[0]


def row(engine: Engine) -> Any:
    with engine.connect() as connection:
        return connection.execute(text("SELECT * FROM servicetitan_credentials ORDER BY id LIMIT 1")).one()


BAD_SLUGS = ("", "Acme", "acme plumbing", "-acme", "acme_plumbing", "a" * 64, "acme\n", "ácme", "a@b")


def test_a_malformed_slug_is_refused_in_one_line_and_by_the_database_too(engine: Engine):
    for slug in BAD_SLUGS:
        with pytest.raises(ConfigurationError, match="is not a valid company slug: use a to z") as refused:
            add_company(engine, slug)
        assert "\n" not in str(refused.value)
        with engine.begin() as connection, pytest.raises(IntegrityError):
            connection.execute(text("INSERT INTO companies (slug, name) VALUES (:slug, 'x')"), {"slug": slug})


def test_text_that_does_not_print_is_refused(engine: Engine):
    for field in ("name", "intacct_id", "trade"):
        for value in ("", " ", " x", "a\x1b[31mb", "a\0b", "a\nb"):
            with pytest.raises(ConfigurationError, match=f"the company's {field.replace('_', ' ')} is empty"):
                add_company(engine, **{field: value})


def test_a_company_can_be_added_again(engine: Engine):
    assert add_company(engine, intacct_id="C-1", trade="hvac")
    assert not add_company(engine, intacct_id="C-1", trade="hvac")
    assert not add_company(engine)
    with pytest.raises(
        ConfigurationError, match=r"already exists with name 'Acme', trade 'hvac': .*companies update acme"
    ):
        add_company(engine, name="Acme & Sons", trade="plumbing")


def test_two_companies_cannot_share_an_intacct_id(engine: Engine):
    """Their rows would mix downstream."""
    add_company(engine, "one", intacct_id="C-1")
    add_company(engine, "two")
    with pytest.raises(ConfigurationError, match="Intacct id C-1 belongs to company one"):
        add_company(engine, "three", intacct_id="C-1")
    with engine.begin() as connection, pytest.raises(ConfigurationError, match="belongs to company one"):
        companies.update_company(connection, "two", intacct_id="C-1")


def test_a_company_is_updated_field_by_field(engine: Engine):
    add_company(engine, trade="hvac")
    with engine.begin() as connection:
        assert companies.update_company(connection, "acme-plumbing", name="Acme & Sons", enabled=False)
        assert not companies.update_company(connection, "acme-plumbing", name="Acme & Sons")
        found = companies.get_company(connection, "acme-plumbing")
        assert (found.name, found.trade, found.enabled) == ("Acme & Sons", "hvac", False)
        with pytest.raises(ConfigurationError, match="unknown company 'acme': did you mean acme-plumbing"):
            companies.update_company(connection, "acme", name="x")


def test_credentials_need_their_company(engine: Engine, settings: Settings):
    with pytest.raises(ConfigurationError, match="unknown company 'acme-plumbing': none has been added yet"):
        add(engine, settings, new_credential())


def test_the_same_credentials_again_change_nothing(engine: Engine, settings: Settings):
    add_company(engine)
    assert add(engine, settings, new_credential(app_key=planted.APP_KEY)) == "added"
    before = row(engine)
    assert add(engine, settings, new_credential(app_key=planted.APP_KEY)) == "unchanged"
    assert add(engine, settings, new_credential(), replace=True) == "unchanged"
    assert row(engine) == before


@pytest.mark.parametrize(
    "change", [{"client_secret": "cs1.new"}, {"client_id": "cid.new"}, {"app_key": "ak1.new"}, {"tenant_id": 1002}]
)
def test_other_credentials_need_replace(engine: Engine, settings: Settings, change: dict[str, Any]):
    tenant = put_tenant(engine, settings)
    store.PostgresTokenStore(engine, settings, tenant).save(Token(SecretStr(planted.TOKEN), datetime.now(UTC)))
    with engine.begin() as connection:
        store.mark_error(connection, tenant.credential_id, "refused")
    before = row(engine)
    with pytest.raises(ConfigurationError, match=r"acme-plumbing already has other credentials: .* --replace"):
        add(engine, settings, new_credential(**change))
    assert row(engine) == before
    assert add(engine, settings, new_credential(**change), replace=True) == "replaced"
    after = row(engine)
    assert (after.id, after.access_token, after.token_expires_at) == (before.id, None, None)
    assert (after.connection_status, after.connection_message) == ("pending", None)
    assert add(engine, settings, new_credential(**change)) == "unchanged"


def test_a_replaced_secret_keeps_the_tenants_own_app_key(engine: Engine, settings: Settings):
    put_tenant(engine, settings, new_credential(app_key=planted.APP_KEY))
    add(engine, settings, new_credential(client_secret="cs1.new"), replace=True)
    with engine.connect() as connection:
        authentication = store.load_authentication(connection, settings, "acme-plumbing")
    assert authentication.app_key.get_secret_value() == planted.APP_KEY


def test_after_a_lost_key_the_secrets_can_be_entered_again(engine: Engine, settings: Settings):
    put_tenant(engine, settings)
    fresh = settings.model_copy(update={"encryption_keys": SecretStr(generate_key())})
    with pytest.raises(ConfigurationError, match=r"does not hold.* --replace"):
        add(engine, fresh, new_credential())
    assert add(engine, fresh, new_credential(), replace=True) == "replaced"
    with engine.connect() as connection:
        assert (
            store.load_authentication(connection, fresh, "acme-plumbing").client_id.get_secret_value()
            == planted.CLIENT_ID
        )


def test_a_tenant_with_data_keeps_its_servicetitan_tenant(engine: Engine, settings: Settings):
    """Otherwise another company's rows would be mixed with its own."""
    tenant = put_tenant(engine, settings)
    with engine.begin() as connection:
        cursors.save(connection, tenant.credential_id, "customers", last_failed_at="now")
    assert add(engine, settings, new_credential(tenant_id=1002), replace=True) == "replaced"
    with engine.begin() as connection:
        cursors.save(connection, tenant.credential_id, "customers", continue_from="token")
    with pytest.raises(
        ConfigurationError, match=r"holds data of ServiceTitan tenant 1002, .* add ServiceTitan tenant 1003"
    ):
        add(engine, settings, new_credential(tenant_id=1003), replace=True)


def test_a_servicetitan_tenant_belongs_to_one_company_per_environment(engine: Engine, settings: Settings):
    put_tenant(engine, settings)
    add_company(engine, "other")
    with pytest.raises(ConfigurationError, match=r"ServiceTitan tenant 1001 \(production\) already belongs to another"):
        add(engine, settings, new_credential(company="other"))
    assert add(engine, settings, new_credential(company="other", environment="integration")) == "added"


def test_two_processes_that_add_the_same_at_once_both_succeed(engine: Engine, settings: Settings):
    add_company(engine)
    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(lambda _: add(engine, settings, new_credential()), range(4)))
    assert sorted(outcomes) == ["added", "unchanged", "unchanged", "unchanged"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [("", "is empty"), ("cs1 a", "has blanks"), ("cs1.a\n", "has blanks"), ("cs1.é", "characters that no key has"),
     ("cs1.\x07", "characters that no key has"), ("x" * 2000, "2,000 characters")],
)  # fmt: skip
def test_what_cannot_be_a_secret_is_refused_without_being_shown(value: str, reason: str):
    with pytest.raises(ConfigurationError, match=f"the client secret {reason}|the client secret .*{reason}") as refused:
        new_credential(client_secret=value)
    assert "cs1" not in str(refused.value)


@pytest.mark.parametrize("tenant_id", [0, -5, 2**63])
def test_a_tenant_id_is_a_positive_number(tenant_id: int):
    with pytest.raises(ConfigurationError, match="is not a valid ServiceTitan tenant id"):
        new_credential(tenant_id=tenant_id)


def test_no_table_shows_a_secret(engine: Engine, settings: Settings):
    tenant = put_tenant(engine, settings, new_credential(app_key=planted.APP_KEY))
    store.PostgresTokenStore(engine, settings, tenant).save(Token(SecretStr(planted.TOKEN), datetime.now(UTC)))
    planted.assert_nothing_planted(engine)
