"""Dagster's tables: created or migrated once, before any Dagster process starts.

Here: creating them. Not here: their database, and the lock under which this happens (postgres/).

Each Dagster process creates missing tables; when several start at once on an empty database, some fail over the
others'. Importing this imports Dagster, which takes a second: do it only when there is something to create.
"""

import tempfile

import dagster as dg
from dagster._core.instance.ref import InstanceRef
from sqlalchemy import URL


def make_tables(url: URL) -> None:
    """Create missing tables and migrate old ones to the installed Dagster."""
    address = url.render_as_string(hide_password=False)
    overrides = {"storage": {"postgres": {"postgres_url": address}}, "telemetry": {"enabled": False}}
    with (
        tempfile.TemporaryDirectory() as folder,
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(folder, overrides=overrides)) as instance,
    ):
        instance.upgrade()
