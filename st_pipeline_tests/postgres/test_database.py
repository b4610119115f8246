"""The address of a Postgres, which is never shown when it is invalid; and how Postgres's errors are reported."""

import pytest
from sqlalchemy import Engine, create_engine

from st_pipeline.errors import ConfigurationError, DatabaseFull
from st_pipeline.postgres.database import DAGSTER_DRIVER, DRIVER, database_errors, read_url


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://st:gehe@im@host:5432/db",
        "postgresql://st:gehe@im:gehe@im@host/db",
        "postgresql://st:gehe@im:gehe@host:5432/db",
        "postgresql://st:gehe@im/gehe@host/db",
        "postgresql://st:geheim@host:54geheim32/db",
        "postgresql://st:geheim@/db",
        "postgresql://st:geheim@host",
        "mysql://st:geheim@host/db",
        "geheim",
    ],
)
def test_a_wrong_address_is_one_line_that_says_how_to_write_it_and_shows_nothing_of_it(address: str):
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not a valid Postgres address") as refused:
        read_url("DATABASE_URL", address)
    assert "@ as %40" in str(refused.value)
    assert "\n" not in str(refused.value)
    for error in (refused.value, refused.value.__cause__, refused.value.__context__):
        assert "gehe" not in str(error)


@pytest.mark.parametrize(
    ("written", "password"),
    [("ge%40h%3Aei%2Fm", "ge@h:ei/m"), ("ge:heim", "ge:heim"), ("ge#h?ei/m", "ge#h?ei/m"), ("100%", "100%")],
)
def test_a_password_with_special_characters_is_understood(written: str, password: str):
    url = read_url("DATABASE_URL", f"postgresql://st:{written}@db.example.com:6543/main")
    assert (url.username, url.password, url.host, url.port, url.database) == (
        "st", password, "db.example.com", 6543, "main"
    )  # fmt: skip


@pytest.mark.parametrize("driver", [DRIVER, DAGSTER_DRIVER])
def test_a_full_disk_is_reported_as_such_and_without_the_drivers_traceback(engine: Engine, driver: str):
    """53100 is Postgres's code for a full disk; our driver and Dagster's differ."""
    own = create_engine(engine.url.set(drivername=driver))
    with (
        pytest.raises(DatabaseFull, match="write a chunk: the disk of Postgres is full") as full,
        database_errors("write a chunk"),
        own.connect() as connection,
    ):
        connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '53100'; END $$")
    own.dispose()
    assert full.value.__cause__ is None
    assert full.value.__suppress_context__
