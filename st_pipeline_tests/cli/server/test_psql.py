"""`st-pipeline psql`: the shell on the tables, and their address."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, make_url

from st_pipeline.embedded_postgres.binaries import find_psql
from st_pipeline_tests.cli.conftest import Command


def test_psql_gets_the_database_and_what_is_behind_the_command(process: Command):
    said = process("psql", "-X", "-At", "-c", "SELECT count(*) FROM companies")
    assert (said.code, said.out, said.err) == (0, "0\n", "")


def test_the_address_is_one_that_other_programs_take(command: Command, engine: Engine):
    said = command("psql", "--address")
    url = make_url(said.out.strip())
    assert url.drivername == "postgresql"
    assert url.set(drivername=engine.url.drivername) == engine.url


def test_without_an_installed_psql_the_one_of_the_package_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_psql()
    assert found is not None
    assert found.is_file()
    assert "pginstall" in found.parts


def test_a_database_that_is_down_is_named_with_the_next_step(unconnected: Command):
    said = unconnected("companies", "list")
    assert (said.code, said.out) == (1, "")
    assert "Postgres at 127.0.0.1:1 does not answer" in said.err
    assert "`st-pipeline doctor` tests the connection" in said.err
    assert "nobody" not in said.err
