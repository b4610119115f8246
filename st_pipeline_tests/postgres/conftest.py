"""A database that a module's tests share, for those that need only a connection.

Here: the connection. Not here: tests.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.embedded_postgres.embedded import EmbeddedServer
from st_pipeline_tests.conftest import TEMPLATE
from st_pipeline_tests.onboarding import database_copied

OURS, THEIRS = 1, 2  # credential ids of two tenants; nobody registered them


@pytest.fixture(scope="module")
def shared_engine(postgres_server: EmbeddedServer) -> Iterator[Engine]:
    """An engine on a migrated database; copying one for each test would cost more than the tests."""
    with database_copied(postgres_server, TEMPLATE) as engine:
        yield engine


@pytest.fixture
def connection(shared_engine: Engine) -> Iterator[Connection]:
    """A transaction that is rolled back. Foreign keys are not checked: tenants are another test's matter."""
    with shared_engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        yield connection
        transaction.rollback()
