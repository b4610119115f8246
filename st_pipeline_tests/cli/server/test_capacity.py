"""Whether workers and threads fit the places in Dagster's queue and Postgres's connections."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, text

import st_pipeline
from st_pipeline.cli.server.capacity import connections_allowed, connections_needed, places_in, what_does_not_fit
from st_pipeline.settings import Settings

ROOT = Path(st_pipeline.__file__).parents[1]


def too_small(engine: Engine, settings: Settings, folder: Path) -> list[str]:
    with engine.connect() as connection:
        return [f"{what} -> {fix}" for what, fix in what_does_not_fit(settings, folder, connection)]


def test_the_defaults_fit_our_dagster_yaml_and_the_usual_hundred_connections(engine: Engine, settings: Settings):
    assert too_small(engine, settings, ROOT) == []
    assert connections_needed(settings) < 97


def test_more_workers_than_places_or_connections_are_told_with_what_to_change(
    engine: Engine, settings: Settings, tmp_path: Path
):
    (tmp_path / "dagster.yaml").write_text("concurrency:\n  runs:\n    max_concurrent_runs: 3\n")
    many = settings.model_copy(update={"poll_workers": 4, "poll_threads": 32})
    places, connections = too_small(engine, many, tmp_path)
    assert "lets 3 runs work at the same time" in places
    assert "set max_concurrent_runs in dagster.yaml to 6" in places
    assert "may want 300, all else included" in connections
    assert "set max_connections of Postgres to 305 or more" in connections


@pytest.mark.parametrize(("written", "places"), [("", None), ("max_concurrent_runs: -1", -1), ("x: 1", None)])
def test_without_a_limit_every_run_has_a_place(tmp_path: Path, written: str, places: int | None):
    (tmp_path / "dagster.yaml").write_text(written)
    assert places_in(tmp_path / "dagster.yaml") == places
    assert places_in(tmp_path / "nothing.yaml") is None


def test_what_postgres_keeps_for_superusers_is_not_ours(engine: Engine):
    with engine.connect() as connection:
        most = int(connection.execute(text("SHOW max_connections")).scalar_one())
        assert connections_allowed(connection) == most - 3
