"""Which Postgres, and one engine to it.

Here: the address, the engine, and database errors as ours. Not here: starting a server (embedded.py), any table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL, Connection, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from st_pipeline.embedded_postgres import embedded
from st_pipeline.errors import ConfigurationError, DatabaseFull, DatabaseRefused, DatabaseUnavailable
from st_pipeline.settings import Settings

MAIN_DATABASE = "st_pipeline"
DRIVER = "postgresql+psycopg"
# SQLAlchemy 2.1 takes psycopg 3 for a bare postgresql://, whose NOTIFY dagster-postgres cannot use.
DAGSTER_DRIVER = "postgresql+psycopg2"
CONNECT_TIMEOUT_SECONDS = 10
# A machine that is gone is noticed after 30 + 3 * 10 = 60 s, and after 60 s with data under way. The system's own times
# are two hours and 15 minutes. This is for us to notice it of Postgres.
CLIENT_KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
# And this for Postgres to notice it of us. It belongs in each statement that takes an advisory lock as a sign of life,
# and costs no round trip there; as start-up options they would not pass pgbouncer. To be committed.
SERVER_KEEPALIVES = (
    "set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '60000', false)"
)
# What Postgres answers when a value is the trouble, one row's and not the chunk's: text and numbers out of range, bad
# JSON, a field or key too large for a page.
DATA_ERRORS = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)


def main_url(settings: Settings) -> URL:
    """The address of our tables. Raises ConfigurationError: no server is set and the embedded one is not running."""
    if settings.database_url is not None:
        return read_url("DATABASE_URL", settings.database_url.get_secret_value()).set(drivername=DRIVER)
    return embedded_url(settings, MAIN_DATABASE).set(drivername=DRIVER)


def read_url(name: str, text: str) -> URL:
    """Parse a Postgres address. Raises ConfigurationError that names the variable and never shows its value."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # a ValueError quotes what stands in the port's place: a piece of the password
        url = None
    is_whole = url is not None and url.host and url.database and text.count("@") <= 1
    if url is None or not is_whole or url.get_backend_name() not in {"postgresql", "postgres"}:
        # Outside the handler, so that a traceback does not show the cause either.
        raise ConfigurationError(
            f"{name} is not a valid Postgres address: write postgresql://user:password@host:port/database, and in the "
            "password @ as %40, : as %3A, / as %2F and % as %25"
        )
    return url


def embedded_folder(settings: Settings) -> Path:
    """Where the embedded server keeps its state."""
    return settings.home / "postgres"


def embedded_url(settings: Settings, database: str) -> URL:
    """The address of a database on the running embedded server. Raises ConfigurationError when it is not running."""
    server = embedded.attach(embedded_folder(settings))
    if server is None:
        raise ConfigurationError(
            f"no Postgres: the embedded server in {settings.home} is not running. Start it with `st-pipeline up`, "
            "or set DATABASE_URL"
        )
    return make_url(server.url(database))


def open_engine(url: URL) -> Engine:
    """An engine on our tables. Pooled connections are tested before use; sessions speak UTC."""
    return create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text would carry a record's values into tracebacks
        pool_size=4,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **CLIENT_KEEPALIVES,
            "application_name": "st-pipeline",
            "options": "-c timezone=UTC",
        },
    )


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turn Postgres's errors into ours: `doing` says what was going on, without data.

    Raises DatabaseUnavailable (a lost or refused connection), DatabaseFull, and DatabaseRefused (a broken constraint, a
    bad value). COPY goes past SQLAlchemy, so the driver's own errors come here too.
    """
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        told = as_pipeline_error(doing, error)
        if told is None:
            raise
        # Chained only where the cause says more: Postgres's words quote a refused row, and the way of a full disk's
        # error through the drivers is hundreds of lines.
        raise told from (error if type(told) is DatabaseUnavailable else None)


def as_pipeline_error(doing: str, error: Exception) -> DatabaseUnavailable | DatabaseRefused | None:
    """A database's error as one of ours; None: it is something else."""
    if isinstance(error, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)):
        if _code(error) == psycopg.errors.DiskFull.sqlstate:
            return DatabaseFull(
                f"{doing}: the disk of Postgres is full: free space there. What is committed stays, the next sync goes "
                "on from there"
            )
        return DatabaseUnavailable(f"{doing}: Postgres does not answer ({_name(error)})")
    if isinstance(error, (IntegrityError, DataError, psycopg.IntegrityError, psycopg.DataError)):
        return DatabaseRefused(
            f"{doing}: Postgres refuses a row ({_name(error)}) by a rule that is not ours; was a table changed by hand?"
        )
    return None


def _name(error: DBAPIError | psycopg.Error) -> str:
    """What Postgres calls it, with the constraint where one is broken; never its text."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    constraint = cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None
    return f"{type(cause).__name__} of {constraint}" if constraint else type(cause).__name__


def _code(error: DBAPIError | psycopg.Error) -> str | None:
    """Postgres's code for it; None where it said nothing. Dagster's storage has another driver with another name."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


@contextmanager
def transaction(engine: Engine, doing: str) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back on any error. Raises DatabaseUnavailable."""
    with database_errors(doing), engine.begin() as connection:
        yield connection
