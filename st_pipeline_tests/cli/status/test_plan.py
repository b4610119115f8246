"""`st-pipeline plan`: the night to come, and the one that is running."""

import uuid
from datetime import UTC, datetime

import pytest

from st_pipeline.postgres import night_plan
from st_pipeline.tenants.night_plan import plan_night
from st_pipeline_tests.acme import Acme
from st_pipeline_tests.cli.conftest import Command

LOADED = "UPDATE servicetitan_credentials SET last_sync_at = now()"
RUN = uuid.UUID(int=1)


def test_before_the_night_it_shows_what_would_be_planned_and_stores_nothing(acme: Acme, acme_command: Command):
    acme.execute(LOADED)
    said = acme_command("plan")
    assert said.code == 0, said.all
    assert "to be planned from 02:00 to about 02:01 (America/Chicago): 1 tenant with 1 worker" in said.words
    assert "acme 02:00 60 s" in said.words
    told = acme_command("plan", "--json").json
    assert (told["is_made"], told["rows"][0]["tenant"], told["rows"][0]["state"]) == (False, "acme", "planned")
    assert acme.rows("SELECT * FROM night_plan") == []


def test_during_the_night_it_shows_how_far_each_tenant_is(acme: Acme, acme_command: Command):
    acme.execute(LOADED)
    with acme.engine.begin() as connection:
        plan_night(connection, acme.settings, datetime.now(UTC))
        claim = night_plan.claim(connection, RUN, 900)
    assert claim is not None

    def state() -> str:
        (row,) = acme_command("plan", "--json").json["rows"]
        return str(row["state"])

    assert state() == "running"
    with acme.engine.begin() as connection:
        ended = {"took_seconds": 42.0, "has_ended": False, "failed": ["jobs"], "pause_seconds": 600}
        night_plan.release(connection, claim.credential_id, RUN, **ended)  # type: ignore[arg-type]
    assert state().startswith("tried again at ")
    acme.execute("UPDATE night_plan SET not_before = now()")
    assert state() == "continues"
    acme.execute("UPDATE night_plan SET ended_at = now()")
    assert state() == "failed: jobs"
    acme.execute("UPDATE night_plan SET failed = '{}'")
    said = acme_command("plan")
    assert "1 tenant with 1 worker, 1 done" in said.words
    assert "42 s done" in said.words


@pytest.mark.usefixtures("acme")
def test_a_tenant_that_was_never_loaded_takes_no_part(acme_command: Command):
    assert acme_command("plan", "--json").json["rows"] == []
    assert "0 tenants" in acme_command("plan").words
