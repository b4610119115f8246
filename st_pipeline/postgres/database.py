"""Which Postgres, and one engine to it.

Here: the address, the engine, turning database errors into our own. Not here: starting a server (embedded_postgres/),
any table.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import URL, Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError

from st_pipeline.errors import ConfigurationError, DatabaseFull, DatabaseRefused, DatabaseUnavailable
from st_pipeline.settings import Settings

MAIN_DATABASE = "st_pipeline"
DRIVER = "postgresql+psycopg"
# SQLAlchemy 2.1 takes psycopg 3 for a bare postgresql://, whose NOTIFY dagster-postgres cannot use.
DAGSTER_DRIVER = "postgresql+psycopg2"
CONNECT_TIMEOUT_SECONDS = 10
# So that we notice a Postgres that is gone: after 30 + 3 * 10 = 60 s of silence, or 60 s with data not acknowledged.
# The operating system's own defaults are two hours and 15 minutes.
CLIENT_KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
# So that Postgres notices when we are gone. It belongs in each statement that takes an advisory lock as a sign of life,
# where it costs no round trip; start-up options would not pass pgbouncer. The transaction must commit.
SERVER_KEEPALIVES = (
    "set_config('tcp_keepalives_idle', '30', false), set_config('tcp_keepalives_interval', '10', false), "
    "set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '60000', false)"
)
# The errors that one row's value causes: text and numbers out of range, bad JSON, a field or key too large for a page.
ADDRESS = "st_pipeline_address"  # an attribute of the driver's errors
DATA_ERRORS = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)


def main_url(settings: Settings) -> URL:
    """The address of our tables. Raises ConfigurationError: none is set and the embedded server is not running."""
    if settings.database_url is not None:
        return read_url("DATABASE_URL", settings.database_url.get_secret_value()).set(drivername=DRIVER)
    return embedded_url(settings, MAIN_DATABASE).set(drivername=DRIVER)


def read_url(name: str, text: str) -> URL:
    """Parse a Postgres address. Raises ConfigurationError that names the variable and never shows its value."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):  # a ValueError quotes what is in the port's place: a piece of the password
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
    """The folder of the embedded server."""
    return settings.home / "postgres"


def embedded_url(settings: Settings, database: str) -> URL:
    """The address of a database on the running embedded server. Raises ConfigurationError when it is not running."""
    from st_pipeline.embedded_postgres import embedded  # 0.06 CPU s, which nobody with a DATABASE_URL needs

    server = embedded.attach(embedded_folder(settings))
    if server is None:
        raise ConfigurationError(
            f"there is no Postgres to connect to: the embedded server in {settings.home} is not running. Start it with "
            "`st-pipeline up`, or set DATABASE_URL"
        )
    return make_url(server.url(database))


def open_engine(url: URL, *, threads: int = 1) -> Engine:
    """An engine. Pooled connections are tested before use; sessions use UTC. `threads`: that sync tenants."""
    engine = create_engine(
        url,
        pool_pre_ping=True,
        hide_parameters=True,  # an error's text would show a record's values in tracebacks
        pool_size=max(4, threads),  # and 10 more for a moment, to store tokens
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            **CLIENT_KEEPALIVES,
            "application_name": "st-pipeline",
            "options": "-c timezone=UTC",
        },
    )
    event.listen(engine, "handle_error", _note_address)
    return engine


def _note_address(context: ExceptionContext) -> None:
    """Let the error know which server it is of: its own words would quote more than the address."""
    url = context.engine.url if context.engine is not None else None
    if url is not None and context.original_exception is not None:
        context.original_exception.__dict__[ADDRESS] = f"{url.host}:{url.port or 5432}"


@contextmanager
def engine_to(url: URL, *, threads: int = 1) -> Iterator[Engine]:
    """An engine for the block, as of `open_engine`."""
    engine = open_engine(url, threads=threads)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def main_engine(settings: Settings, given: Engine | None = None, *, threads: int = 1) -> Iterator[Engine]:
    """An engine to our tables for the block: the one given, which stays open, or one of its own.

    Raises ConfigurationError: no database is set and the embedded server is not running.
    """
    if given is not None:
        yield given
        return
    with engine_to(main_url(settings), threads=threads) as engine:
        yield engine


@contextmanager
def database_errors(doing: str) -> Iterator[None]:
    """Turn Postgres's errors into ours. `doing` says what was being done, without data.

    Raises DatabaseUnavailable (a lost or refused connection), DatabaseFull, and DatabaseRefused (a violated constraint,
    a bad value). COPY does not pass through SQLAlchemy, so the driver's own errors are handled, too.
    """
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        ours = as_pipeline_error(doing, error)
        if ours is None:
            raise
        # Chained only where the cause says more: Postgres's message would quote a refused row, and the traceback of a
        # full disk is hundreds of lines of drivers.
        raise ours from (error if type(ours) is DatabaseUnavailable else None)


def as_pipeline_error(doing: str, error: Exception) -> DatabaseUnavailable | DatabaseRefused | None:
    """Our own error for one of the database; None when it is none of those we know."""
    if isinstance(error, (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)):
        if _code(error) == psycopg.errors.DiskFull.sqlstate:
            return DatabaseFull(
                f"{doing}: the disk of Postgres is full. Free space on it; what is committed stays, and the next sync "
                "continues from there"
            )
        where = f" at {address}" if (address := _address(error)) else ""
        return DatabaseUnavailable(
            f"{doing}: Postgres{where} does not answer ({_name(error)}). See whether it is running and can be reached "
            "from here; `st-pipeline doctor` tests the connection"
        )
    if isinstance(error, (IntegrityError, DataError, psycopg.IntegrityError, psycopg.DataError)):
        return DatabaseRefused(
            f"{doing}: Postgres refuses a row ({_name(error)}) that passed our own checks. Was a table changed by "
            "hand? Undo that change, then sync again"
        )
    return None


def _address(error: DBAPIError | psycopg.Error) -> str | None:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, ADDRESS, None)


def _name(error: DBAPIError | psycopg.Error) -> str:
    """The name of Postgres's error, and of the constraint where one is violated; never its message."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    constraint = cause.diag.constraint_name if isinstance(cause, psycopg.Error) else None
    return f"{type(cause).__name__} of {constraint}" if constraint else type(cause).__name__


def _code(error: DBAPIError | psycopg.Error) -> str | None:
    """Postgres's error code; None without one. Dagster's storage uses psycopg2, which names it differently."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


@contextmanager
def transaction(engine: Engine, doing: str) -> Iterator[Connection]:
    """One transaction: committed at the end, rolled back on any error. Raises DatabaseUnavailable."""
    with database_errors(doing), engine.begin() as connection:
        yield connection
