"""The figures by which two intervals are compared: what adds up, and what does not."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from st_pipeline.postgres import poll_figures
from st_pipeline.postgres.poll_figures import PollFigures

FIRST = PollFigures(150, 3000, 300, 42000, 60.5, 2850, 855000.0, 310.0)
SECOND = PollFigures(149, 1500, 150, 21000, 30.25, 1400, 420000.0, 900.0)


def test_what_workers_saw_of_a_half_adds_up_but_for_tenants_and_the_longest_gap(engine: Engine):
    today = datetime.now(UTC).date()
    with engine.begin() as connection:
        poll_figures.add(connection, {1: FIRST})
        poll_figures.add(connection, {1: SECOND, 2: SECOND})
        poll_figures.add(connection, {})
        found = poll_figures.since(connection, today)
        assert found == {1: PollFigures(150, 4500, 450, 63000, 90.75, 4250, 1275000.0, 900.0), 2: SECOND}
        assert isinstance(found[1].polls, int)
        assert poll_figures.since(connection, today + timedelta(days=1)) == {}


def test_the_figures_of_several_days_are_one(engine: Engine):
    with engine.begin() as connection:
        poll_figures.add(connection, {1: FIRST})
        connection.execute(text("UPDATE poll_figures SET day = day - 1"))
        poll_figures.add(connection, {1: FIRST})
        days = poll_figures.since(connection, datetime.now(UTC).date() - timedelta(days=1))
    assert (days[1].polls, days[1].tenants) == (6000, 150)
