import getpass
import os
import socket

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from st_pipeline.tenants import audit


def test_a_row_says_who_did_what_from_where(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    """Anybody can set `USER`; nobody can change the process's own user."""
    expected = audit.actor()
    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setenv("LOGNAME", "somebody-else")
    with engine.begin() as connection:
        audit.record(
            connection, "credentials.add", tenant="acme", credential_id=7, result="refused", details={"replace": True}
        )
        row = connection.execute(text("SELECT * FROM audit_log")).one()
    assert (row.actor, row.origin) == (expected, socket.gethostname())
    assert row.actor != getpass.getuser()
    assert (row.action, row.tenant, row.credential_id, row.result) == ("credentials.add", "acme", 7, "refused")
    assert row.details == {"replace": True}


def test_a_secret_cannot_be_written_by_mistake(engine: Engine):
    with engine.begin() as connection:
        with pytest.raises(TypeError):
            audit.record(
                connection, "credentials.add", tenant="acme", credential_id=1, result="done",
                details={"client_secret": SecretStr("cs1.planted")},  # type: ignore[dict-item]
            )  # fmt: skip
        assert connection.execute(text("SELECT count(*) FROM audit_log")).scalar_one() == 0


def test_a_user_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch):
    """As in a container that runs under a number nobody registered."""
    monkeypatch.setattr(os, "geteuid", lambda: 3_999_999)
    assert audit.actor() == "uid 3999999"


def test_the_trail_is_part_of_the_transaction_it_tells_of(engine: Engine):
    with engine.connect() as connection:
        audit.record(connection, "credentials.add", tenant="acme", credential_id=1, result="done")
        connection.rollback()
        assert connection.execute(text("SELECT count(*) FROM audit_log")).scalar_one() == 0
