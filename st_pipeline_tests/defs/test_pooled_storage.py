"""Dagster's storage as dagster.yaml configures it: its sessions stay open, and ended ones are replaced unnoticed."""

from collections.abc import Iterator

import dagster as dg
import pytest
from sqlalchemy import Engine, text

STORAGES = 3  # runs, events, schedules


@pytest.fixture
def instance(home: object) -> Iterator[dg.DagsterInstance]:  # noqa: ARG001 - DAGSTER_HOME
    with dg.DagsterInstance.get() as instance:
        yield instance


def ask_each_storage(instance: dg.DagsterInstance) -> None:
    instance.get_runs(limit=1)
    instance.fetch_materializations(dg.AssetKey("anything"), limit=1)
    instance.all_instigator_state()


def sessions(engine: Engine) -> set[int]:
    """Process ids of the sessions that others have in the test's database."""
    query = text(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' "
        "AND pid <> pg_backend_pid()"
    )
    with engine.begin() as connection:
        return set(connection.execute(query).scalars())


def test_a_process_asks_again_and_again_in_the_same_sessions(instance: dg.DagsterInstance, storage: Engine):
    ask_each_storage(instance)
    first = sessions(storage)
    assert len(first) == STORAGES
    for _ in range(5):
        ask_each_storage(instance)
    assert sessions(storage) == first


def test_after_a_restart_of_postgres_nobody_notices_that_the_sessions_ended(
    instance: dg.DagsterInstance, storage: Engine
):
    ask_each_storage(instance)
    ended = sessions(storage)
    with storage.begin() as connection:
        for pid in ended:
            connection.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    ask_each_storage(instance)
    assert len(sessions(storage)) == STORAGES
    assert not ended & sessions(storage)
