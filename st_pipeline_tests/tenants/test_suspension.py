"""When ServiceTitan refuses a tenant: what suspends it, what does not, and how it comes back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.settings import Settings
from st_pipeline.sync.data_types import SYNCED
from st_pipeline.tenants import store, suspension
from st_pipeline.tenants.selection import Selection, choose
from st_pipeline.vault.encryption import Vault
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.tenants.planted import new_credential, put_tenant

STATUS = "SELECT connection_status FROM servicetitan_credentials"


def status(acme: Acme) -> str:
    return str(acme.value(STATUS))


def test_a_company_that_disconnects_the_app_is_suspended(acme: Acme):
    """Its keys still get a token; every address answers 403 in ServiceTitan's words. Not every entity is tried."""
    acme.source.change(connected=False)
    result = acme.sync()
    assert {type(one.error).__name__ for one in result.outcomes} == {"AccessRefused", "NotTried"}
    assert len(result.errors) == len(SYNCED)
    assert status(acme) == "error"
    assert acme.value("SELECT result FROM audit_log WHERE action = 'sync'") == "refused"


def test_the_gateways_404_for_every_address_suspends_as_well(acme: Acme):
    """As others report for a tenant that has not connected the app."""
    acme.source.fault("status", status=404, path="/tenant/")
    assert {type(one.error).__name__ for one in acme.sync().outcomes} == {"AddressUnknown", "NotTried"}
    assert status(acme) == "error"


def test_wrong_keys_suspend_whatever_was_asked_for(acme: Acme):
    put_secret(acme, "cs.wrong")
    acme.sync(only=("tag_types",))
    assert status(acme) == "error"


def put_secret(acme: Acme, secret: str) -> None:
    sealed = Vault.from_settings(acme.settings).encrypt("acme", "client_secret", SecretStr(secret))
    acme.execute("UPDATE servicetitan_credentials SET client_secret = :secret, access_token = NULL", secret=sealed)


NOT_THE_CREDENTIALS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a proxy's page at the token address": ({"status": 403, "body": "html", "entity": "token"}, {}),
    "another error at the token address": ({"status": 400, "entity": "token"}, {}),
    "a proxy's page everywhere else": ({"status": 403, "body": "html", "path": "/tenant/"}, {}),
    "a proxy's 404 everywhere else": ({"status": 404, "body": "html", "path": "/tenant/"}, {}),
    "a proxy's 401 everywhere else": ({"status": 401, "body": "empty", "path": "/tenant/"}, {}),
    "one entity refused": ({"status": 403, "entity": "membership_types"}, {}),
    "the only entity asked for refused": (
        {"status": 403, "entity": "membership_types"},
        {"only": ("membership_types",)},
    ),
    "all refused but one that has no answer": ({"status": 403, "path": "/tenant/"}, {"unanswered": "campaigns"}),
}


@pytest.mark.parametrize("case", NOT_THE_CREDENTIALS)
def test_this_does_not_speak_against_the_credentials(acme: Acme, case: str):
    acme.settings = acme.settings.model_copy(update={"max_attempts": 1})
    rule, options = NOT_THE_CREDENTIALS[case]
    if "unanswered" in options:
        acme.source.fault("status", status=503, entity=options["unanswered"])
        options = {}
    acme.source.fault("status", **rule)
    assert not acme.sync(**options).success
    assert status(acme) in ("pending", "connected")


def test_a_suspended_tenant_is_tried_again_after_pauses_that_grow_and_goes_on_when_it_is_accepted(acme: Acme):
    acme.source.change(connected=False)
    pauses = []
    for _ in range(3):
        acme.sync()
        pauses.append(acme.value("SELECT retry_at - now() FROM servicetitan_credentials"))
    assert [round(pause / timedelta(minutes=15), 1) for pause in pauses] == [1, 2, 4]

    def why(now: datetime) -> str:
        with acme.engine.connect() as connection:
            (choice,) = choose(connection, Selection(), now=now)
        return choice.reason

    now = datetime.now(UTC)
    assert why(now).startswith("suspended: ServiceTitan refuses its credentials; tried again from ")
    assert why(now + timedelta(hours=1, minutes=1)).startswith("due")
    acme.source.change(connected=True)
    assert acme.sync().success
    state = acme.rows("SELECT connection_status, refused_since, refusals, retry_at FROM servicetitan_credentials")
    assert state == [("connected", None, 0, None)]


def test_the_longest_pause_is_half_a_day(engine: Engine, tenants: list[store.Tenant]):
    with engine.begin() as connection:
        for _ in range(30):
            store.mark_error(connection, tenants[0].credential_id, "refused")
        pause = connection.execute(text("SELECT max(retry_at) - now() FROM servicetitan_credentials")).scalar_one()
    assert timedelta(hours=11) < pause < timedelta(hours=13)


@pytest.fixture
def tenants(engine: Engine, settings: Settings) -> list[store.Tenant]:
    """Four tenants that were accepted so far."""
    for number in range(1, 5):
        tenant = put_tenant(engine, settings, new_credential(f"tenant-{number}", tenant_id=number))
        with engine.begin() as connection:
            store.mark_synced(connection, tenant.credential_id, entities=())
    with engine.connect() as connection:
        return store.all_tenants(connection)


def refuse(engine: Engine, *tenants: store.Tenant) -> list[str]:
    """Each sync is refused; the statuses afterwards."""
    for tenant in tenants:
        with engine.begin() as connection:
            suspension.refused(connection, tenant.credential_id, "refused")
    with engine.connect() as connection:
        return [tenant.connection_status for tenant in store.all_tenants(connection)]


def test_several_tenants_refused_within_a_minute_are_an_outage(engine: Engine, tenants: list[store.Tenant]):
    """Those that were refused first are given back, too."""
    assert refuse(engine, *tenants[:2]) == ["error", "error", "connected", "connected"]
    assert refuse(engine, tenants[2]) == ["connected"] * 4
    with engine.connect() as connection:
        told = [tenant.connection_message for tenant in store.all_tenants(connection)]
    assert "3 tenants were refused within a minute: this looks like an outage" in str(told[0])
    assert told[3] is None
    assert refuse(engine, tenants[0]) == ["connected"] * 4  # the next poll


def test_tenants_refused_at_different_times_are_suspended(engine: Engine, tenants: list[store.Tenant]):
    refuse(engine, tenants[0])
    earlier = text("UPDATE servicetitan_credentials SET refused_since = refused_since - interval '5 minutes'")
    with engine.begin() as connection:
        connection.execute(earlier)
    assert refuse(engine, *tenants[1:3]) == ["error", "error", "error", "connected"]


def test_an_outage_that_lasts_for_more_than_an_hour_is_one_no_longer(engine: Engine, tenants: list[store.Tenant]):
    refuse(engine, *tenants)
    earlier = text("UPDATE servicetitan_credentials SET refused_since = refused_since - interval '61 minutes'")
    with engine.begin() as connection:
        connection.execute(earlier)
    assert refuse(engine, *tenants) == ["error"] * 4
