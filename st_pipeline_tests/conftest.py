"""What every test may ask for: a real Postgres, a migrated database of its own, settings that point at it."""

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import structlog
from sqlalchemy import Engine, make_url

from st_pipeline.embedded_postgres import embedded
from st_pipeline.postgres.database import DRIVER, open_engine
from st_pipeline.postgres.migrations import migrate
from st_pipeline.settings import Settings
from st_pipeline_tests.onboarding import SyncedCompany, copy_database, database_copied, settings_for, sync_once
from st_pipeline_tests.quick_storage import make_folder

if TYPE_CHECKING:
    from st_pipeline.entities.spec import EntitySpec
    from st_pipeline.simulator.control import SimulatedTenant, SimulatorControl
    from st_pipeline.sync.context import EntityContext
    from st_pipeline_tests.acme import Acme

# A test's database need not survive a power cut; the tests of durability start servers of their own.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
TEMPLATE = "template_migrated"


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_the_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads the developer's settings or .env file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("ST_PIPELINE_") or name in ("DATABASE_URL", "DAGSTER_HOME"):
                patch.delenv(name)
        patch.chdir(tmp_path_factory.mktemp("working_folder"))
        yield


@pytest.fixture(autouse=True)
def _logs_as_they_come() -> Iterator[None]:
    """A command run in this process sets up logging; the next test starts without that."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[embedded.EmbeddedServer]:
    """One server for the whole run, with a migrated database to copy."""
    from st_pipeline.operations.table_comments import table_comments

    # Not pytest's own folder: for root that is private, and the server's account could not enter it.
    place = make_folder("st-pipeline-tests-")
    place.chmod(0o755)
    folder = place / "postgres"
    server = embedded.start(folder, options=FAST)
    embedded.ensure_database(server, TEMPLATE)
    engine = open_engine(make_url(server.url(TEMPLATE)).set(drivername=DRIVER))
    migrate(engine, comments=table_comments())
    engine.dispose()
    yield server
    embedded.remove(folder)
    shutil.rmtree(place)


@pytest.fixture
def empty_engine(postgres_server: embedded.EmbeddedServer) -> Iterator[Engine]:
    """An engine on an empty database of the test's own."""
    with database_copied(postgres_server, "template0") as engine:
        yield engine


@pytest.fixture
def engine(postgres_server: embedded.EmbeddedServer) -> Iterator[Engine]:
    """An engine on a migrated, empty database of the test's own."""
    with database_copied(postgres_server, TEMPLATE) as engine:
        yield engine


@pytest.fixture
def settings(engine: Engine, tmp_path: Path) -> Settings:
    """Settings for the test's database, with a key of its own and retries that do not wait."""
    return settings_for(engine, tmp_path / ".st-pipeline")


@pytest.fixture
def make_work(engine: Engine, settings: Settings) -> "Iterator[Callable[..., EntityContext]]":
    """Orders to write records of an entity: `make_work(spec, Mode.FULL, rows_per_chunk=5)`. They ask nobody for any."""
    from st_pipeline.postgres import leases
    from st_pipeline.postgres.sync_log import SyncLog
    from st_pipeline.protocol import Mode
    from st_pipeline.sync.context import EntityContext
    from st_pipeline_tests.tenants.planted import put_tenant

    tenant = put_tenant(engine, settings)
    of = tenant.credential_id, tenant.partition_key
    with engine.connect() as connection:
        with connection.begin():
            lease = leases.take(connection, *of, "a test", 600, sync_id=uuid.UUID(int=1))
        assert lease is not None

        def make(spec: "EntitySpec", mode: Mode = Mode.WINDOW, **changed: Any) -> EntityContext:
            return EntityContext(
                tenant=tenant.partition_key,
                credential_id=tenant.credential_id,
                connection=connection,
                lease=lease,
                log=SyncLog(*of, uuid.UUID(int=1), "manual", mode, spec.name),
                settings=settings.model_copy(update=changed),
                mode=mode,
                spec=spec,
                client=cast("Any", None),
            )

        yield make


@pytest.fixture
def acme(servicetitan_tenant: "Callable[..., SimulatedTenant]", settings: Settings, engine: Engine) -> "Acme":
    """A company of 30 customers, 100 invoices and what belongs to them, in pages of 20 records; not synced yet."""
    from st_pipeline_tests.acme import SIZES, take_on

    return take_on(servicetitan_tenant(**SIZES), settings, engine)


@pytest.fixture
def synced_acme(synced_company: "Callable[..., SyncedCompany]") -> "Iterator[Acme]":
    """`acme` after its first sync, for tests of what comes after it: a copy costs 0.1 CPU seconds, a first sync 1.2."""
    from st_pipeline_tests.acme import SIZES, in_small_pages

    with synced_company({"name": "Acme"}, **SIZES).copied() as (source, settings, engine):
        yield in_small_pages(source, settings, engine)


@pytest.fixture(scope="session")
def synced_company(
    postgres_server: embedded.EmbeddedServer,
    servicetitan_simulator: "SimulatorControl",
    tmp_path_factory: pytest.TempPathFactory,
) -> "Callable[..., SyncedCompany]":
    """`acme` after its first sync, to be copied: `synced_company(customers=20, invoices=30)`, synced once a run."""
    made: dict[str, SyncedCompany] = {}

    def company(details: "dict[str, Any] | None" = None, **spec: Any) -> SyncedCompany:
        of = repr((details, sorted(spec.items())))
        if of not in made:
            name = f"template_synced_{len(made)}"
            copy_database(postgres_server, TEMPLATE, name)
            sources = {"acme": servicetitan_simulator.create_tenant(**spec)}
            home = tmp_path_factory.mktemp("home")
            made[of] = SyncedCompany(sync_once(postgres_server, name, sources, home, **details or {}))
        return made[of]

    return company
