"""How `sync --dry-run` shows its plan."""

from sqlalchemy import Engine

from st_pipeline.cli.sync.command import MAX_TENANTS_IN_DETAIL
from st_pipeline_tests.cli.conftest import Command
from st_pipeline_tests.cli.installation import widest
from st_pipeline_tests.operations.test_sync_plan import fill


def test_many_tenants_are_shown_in_a_line_each_and_few_with_their_entities(engine: Engine, command: Command):
    """A table for each of 300 tenants took 9 s to draw, and nobody reads it."""
    fill(engine, MAX_TENANTS_IN_DETAIL + 1)
    said = command("sync", "--dry-run")
    assert (said.code, widest(said.out) <= 80) == (0, True)
    assert len([line for line in said.out.splitlines() if line.startswith("company-")]) == MAX_TENANTS_IN_DETAIL + 1
    assert "tag_types" not in said.out
    assert "--json shows each tenant's entities" in said.out
    assert "tag_types" in command("sync", "--dry-run", "-c", "company-1").out
