"""What nearly every command needs: the settings, and an engine on a database at the right version.

Here: opening and closing it. Not here: starting a server or migrating.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine

from st_pipeline.postgres.database import main_engine
from st_pipeline.postgres.schema_version import check_current
from st_pipeline.settings import Settings, load_settings


@contextmanager
def open_database() -> Iterator[tuple[Settings, Engine]]:
    """The settings and an engine, disposed at the end. Raises ConfigurationError and DatabaseUnavailable."""
    settings = load_settings()
    with main_engine(settings) as engine:
        check_current(engine)
        yield settings, engine
