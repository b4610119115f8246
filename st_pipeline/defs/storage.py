"""Dagster's tables: made or migrated once, before any process of Dagster's begins.

Here: making them. Not here: their database, and the lock under which this happens (postgres/dagster_database.py).

Each process of Dagster makes tables that are missing; of several that begin at once on an empty database, one in six
failed over the other's. Importing this imports Dagster, which costs a second: only when there is something to make.
"""

import tempfile

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy import URL


def make_tables(url: URL) -> None:
    """Make the tables that are missing and bring old ones to this Dagster's form."""
    address = url.render_as_string(hide_password=False)
    overrides = {"storage": {"postgres": {"postgres_url": address}}, "telemetry": {"enabled": False}}
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(folder, overrides=overrides)) as instance,
    ):
        instance.upgrade()
