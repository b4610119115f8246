"""A tenant's lease: who may take it, who sees that its holder has ended, and that asking for it never waits."""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from secrets import token_hex

import pytest
from sqlalchemy import Connection, Engine, text

from st_pipeline.errors import LeaseLost, SyncStopped, TenantBusy
from st_pipeline.postgres import leases
from st_pipeline.postgres.database import open_engine
from st_pipeline.postgres.sync_log import close_abandoned
from st_pipeline.tenants import tenant_details

# What waits for a row lock here would wait for ever: the test holds it.
LONGEST_WAIT = "1s"


@pytest.fixture
def tenant(engine: Engine) -> int:
    """The credential id of a tenant."""
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO companies (slug, name, intacct_id) VALUES ('acme', 'Acme', 'INT')")
        return int(
            connection.exec_driver_sql(
                "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
                "SELECT id, 'production', 1, 'x', 'x' FROM companies RETURNING id"
            ).scalar_one()
        )


@pytest.fixture
def roles(engine: Engine) -> Iterator[tuple[Engine, Engine]]:
    """The same database for two roles that may read and write its tables, and see nothing of each other's sessions."""
    names = [f"st_{which}_{token_hex(4)}" for which in ("daemon", "cron")]
    with engine.begin() as connection:
        for name in names:
            connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'made-up'")
            connection.exec_driver_sql(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
            connection.exec_driver_sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")
    engines = [open_engine(engine.url.set(username=name, password="made-up")) for name in names]
    yield engines[0], engines[1]
    with engine.begin() as connection:
        for name, own in zip(names, engines, strict=True):
            own.dispose()
            connection.exec_driver_sql(f"DROP OWNED BY {name}; DROP ROLE {name}")


def take(connection: Connection, tenant: int, seconds: float = 600) -> leases.Lease | None:
    """Ask for the tenant in a separate transaction."""
    with connection.begin():
        return leases.take(connection, tenant, "acme", "test", seconds)


def cannot_wait(connection: Connection) -> None:
    """From now on the session gets an error where it would wait for a lock."""
    with connection.begin():
        connection.execute(text(f"SET lock_timeout = '{LONGEST_WAIT}'"))


def test_another_database_role_sees_that_the_holder_lives(roles: tuple[Engine, Engine], tenant: int):
    """Postgres hides from a role when another role's session began, so that time cannot tell whether a holder lives."""
    daemon, cron = roles
    with daemon.connect() as holder, cron.connect() as other:
        assert take(holder, tenant) is not None
        with holder.begin():
            holder.execute(
                text(
                    "INSERT INTO servicetitan_sync_logs (credential_id, sync_id, sync_type, mode, data_type) "
                    "VALUES (:id, gen_random_uuid(), 'manual', 'full', 'all')"
                ),
                {"id": tenant},
            )
        assert take(other, tenant) is None
        with other.begin():
            assert list(leases.held_tenants(other)) == [tenant]
            assert tenant_details.lease(other, tenant) is not None
            assert close_abandoned(other) == 0


def test_another_database_role_sees_at_once_that_the_holder_is_gone(roles: tuple[Engine, Engine], tenant: int):
    daemon, cron = roles
    with daemon.connect() as holder, cron.connect() as other:
        assert take(holder, tenant) is not None
        with pytest.raises(TenantBusy, match="busy with another run, test"):
            leases.take_or_wait(other, tenant, "acme", "test", 600)
        holder.invalidate()
        assert leases.take_or_wait(other, tenant, "acme", "test", 600, wait_seconds=10) is not None


def test_asking_for_a_tenant_whose_chunk_is_being_written_does_not_wait(engine: Engine, tenant: int):
    with engine.connect() as holder, engine.connect() as other:
        cannot_wait(other)
        lease = take(holder, tenant)
        assert lease is not None
        with holder.begin():
            lease.extend(holder)  # and stays inside its transaction
            assert take(other, tenant) is None


def test_asking_for_a_tenant_whose_lease_expired_does_not_wait_for_its_last_chunk_either(engine: Engine, tenant: int):
    with engine.connect() as holder, engine.connect() as other:
        cannot_wait(other)
        lease = take(holder, tenant, seconds=0)
        assert lease is not None
        with holder.begin():
            lease.extend(holder)
            assert take(other, tenant) is None


def test_asking_for_a_tenant_that_is_just_being_taken_or_released_does_not_wait(engine: Engine, tenant: int):
    with engine.connect() as holder, engine.connect() as other:
        cannot_wait(other)
        with holder.begin():
            lease = leases.take(holder, tenant, "acme", "test", 600)
            assert lease is not None
            assert take(other, tenant) is None
        with holder.begin():
            lease.release(holder)
            assert take(other, tenant) is None
        assert take(other, tenant) is not None


def test_asking_for_a_tenant_whose_secrets_are_being_re_encrypted_does_not_wait(engine: Engine, tenant: int):
    with engine.connect() as keys, engine.connect() as other, keys.begin():
        keys.exec_driver_sql("SELECT FROM servicetitan_credentials FOR NO KEY UPDATE")
        cannot_wait(other)
        assert take(other, tenant) is not None


def test_of_many_that_ask_at_once_one_gets_the_tenant(engine: Engine, tenant: int):
    with ExitStack() as stack:
        connections = [stack.enter_context(engine.connect()) for _ in range(4)]
        assert [take(one, tenant) is not None for one in connections] == [True, False, False, False]


def test_an_expired_lease_goes_to_the_next_although_its_holder_lives(engine: Engine, tenant: int):
    with engine.connect() as holder, engine.connect() as other:
        first = take(holder, tenant, seconds=0)
        assert first is not None
        assert take(other, tenant) is not None
        with holder.begin(), pytest.raises(LeaseLost):
            first.extend(holder)
        with holder.begin():
            first.release(holder)
        assert take(holder, tenant) is None


def test_a_tenant_that_was_taken_over_shows_its_new_holder_and_since_when(engine: Engine, tenant: int):
    with engine.connect() as holder, engine.connect() as other:
        assert take(holder, tenant, seconds=0) is not None
        with other.begin():
            before = other.exec_driver_sql("SELECT taken_at FROM tenant_leases").scalar_one()
            assert leases.take(other, tenant, "acme", "the next run", 600) is not None
            assert str(leases.holder_name(other, tenant)).startswith("the next run (process ")
            assert other.exec_driver_sql("SELECT taken_at FROM tenant_leases").scalar_one() > before


def test_taking_over_a_tenant_takes_no_other_tenant(engine: Engine, tenant: int):
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
            "SELECT id, 'integration', 2, 'x', 'x' FROM companies"
        )
        other = int(connection.exec_driver_sql("SELECT max(id) FROM servicetitan_credentials").scalar_one())
    with engine.connect() as holder, engine.connect() as next_holder:
        assert take(holder, tenant, seconds=0) is not None
        lease = take(holder, other)
        assert lease is not None
        assert take(next_holder, tenant) is not None
        with holder.begin():
            lease.extend(holder)


def test_a_released_tenant_leaves_no_lock_behind(engine: Engine, tenant: int):
    with engine.connect() as holder:
        lease = take(holder, tenant)
        assert lease is not None
        with holder.begin():
            lease.release(holder)
            left = holder.exec_driver_sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1")
            assert left.scalar_one() == 0


def test_a_tenant_whose_number_is_larger_than_an_integer_can_be_taken(engine: Engine, tenant: int):
    """Advisory locks with two numbers take integers, ids are bigints."""
    large = tenant + 2**40
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO servicetitan_credentials "
                "(id, company_id, environment, tenant_id, client_id, client_secret) OVERRIDING SYSTEM VALUE "
                "SELECT :id, id, 'integration', 2, 'x', 'x' FROM companies"
            ),
            {"id": large},
        )
    with engine.connect() as holder, engine.connect() as other:
        assert take(holder, large) is not None
        assert take(other, large) is None


def test_extending_moves_the_end_of_the_lease_of_that_tenant_alone(engine: Engine, tenant: int):
    ends = "SELECT expires_at - clock_timestamp() > interval '500 s' FROM tenant_leases ORDER BY credential_id"
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
            "SELECT id, 'integration', 2, 'x', 'x' FROM companies"
        )
        other = int(connection.exec_driver_sql("SELECT max(id) FROM servicetitan_credentials").scalar_one())
    with engine.connect() as holder, holder.begin():
        lease = leases.take(holder, tenant, "acme", "test", 600)
        assert lease is not None
        assert leases.take(holder, other, "acme@integration", "test", 60) is not None
        holder.exec_driver_sql("UPDATE tenant_leases SET expires_at = clock_timestamp() + interval '1 s'")
        lease.extend(holder)
        assert list(holder.exec_driver_sql(ends).scalars()) == [True, False]
        assert leases.holder_name(holder, tenant) == f"test (process {os.getpid()} on {socket.gethostname()})"
        assert leases.holder_name(holder, other + 1) is None
        lease.release(holder)
        assert leases.holder_name(holder, tenant) is None
        assert list(leases.held_tenants(holder)) == [other]


def test_a_lease_that_ran_out_or_whose_holder_is_gone_is_not_held(engine: Engine, tenant: int):
    with engine.connect() as holder, engine.connect() as other:
        assert take(holder, tenant) is not None
        with other.begin():
            assert list(leases.held_tenants(other)) == [tenant]
            other.exec_driver_sql("UPDATE tenant_leases SET expires_at = clock_timestamp()")
            assert leases.held_tenants(other) == {}
        with other.begin():
            other.exec_driver_sql("UPDATE tenant_leases SET expires_at = clock_timestamp() + interval '1 h'")
            assert list(leases.held_tenants(other)) == [tenant]
            with other.begin_nested() as nobody:
                other.exec_driver_sql("UPDATE tenant_leases SET holder = gen_random_uuid()")
                assert leases.held_tenants(other) == {}
                nobody.rollback()
        holder.invalidate()
        leases.take_or_wait(other, tenant, "acme", "test", 600, wait_seconds=10)  # once Postgres has seen it go
        other.invalidate()
    with engine.connect() as third:
        leases.take_or_wait(third, tenant, "acme", "test", 600, wait_seconds=10)
        with third.begin():
            assert list(leases.held_tenants(third)) == [tenant]


def test_a_sync_that_is_asked_to_end_takes_nothing_and_writes_nothing_more(engine: Engine, tenant: int):
    asked, other = uuid.uuid4(), uuid.uuid4()
    stop = text("INSERT INTO sync_stops (sync_id, reason) VALUES (:id, 'stopped by a person')")
    with engine.connect() as connection:
        lease = leases.take_or_wait(connection, tenant, "acme", "test", 600, sync_id=asked)
        with connection.begin():
            connection.execute(stop, {"id": other})
            lease.extend(connection)  # another sync was asked to end
        with connection.begin():
            connection.execute(stop, {"id": asked})
            with pytest.raises(SyncStopped, match=r"^sync acme: stopped by a person; what is committed stays"):
                lease.extend(connection)
        with connection.begin():
            lease.release(connection)
        with pytest.raises(SyncStopped):
            leases.take_or_wait(connection, tenant, "acme", "test", 600, sync_id=asked)
        assert leases.take_or_wait(connection, tenant, "acme", "test", 600) is not None


def test_a_busy_tenant_is_asked_for_every_second_until_the_time_is_up_and_its_holder_is_named(
    engine: Engine, tenant: int
):
    slept: list[float] = []
    with engine.connect() as holder, engine.connect() as other:
        leases.take_or_wait(holder, tenant, "acme", "nightly full sync", 600)
        with pytest.raises(TenantBusy, match=r"^sync of tenant acme: .* nightly full sync \(process .*waited 2.5 s"):
            leases.take_or_wait(
                other, tenant, "acme", "sync", 600, wait_seconds=2.5, clock=lambda: sum(slept), sleep=slept.append
            )
    assert slept == [1.0, 1.0, 0.5]
