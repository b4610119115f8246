"""What Dagster has not been told of a verdict, and how many tenants fail."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from st_pipeline.postgres.check_verdicts import Severity, Status, Verdict, save
from st_pipeline.postgres.shown_verdicts import AssetFigures, figures, mark_shown, unshown
from st_pipeline_tests.checks.planted import tenants_in_order

NOW = datetime(2026, 3, 4, 16, 2, tzinfo=UTC)


def verdicts_of(engine: Engine, number: int) -> list[Verdict]:
    """For each of so many tenants one that passed."""
    return [
        Verdict(id_, name, "invoices", "money", Status.PASSED, Severity.WARN, NOW, NOW, "x", {})
        for id_, name in tenants_in_order(engine, number, NOW)
    ]


def test_a_verdict_is_to_be_shown_until_it_was_and_again_when_status_or_severity_changes(engine: Engine):
    first, second = save(engine, verdicts_of(engine, 2), only_changes=False)
    with engine.begin() as connection:
        assert unshown(connection) == [first.key, second.key]
        mark_shown(connection, [first])
        assert unshown(connection) == [second.key]
        assert unshown(connection, first.credential_id) == []
    save(engine, [replace(first, message="another", checked_at=NOW + timedelta(hours=1))], only_changes=False)
    for changed in ({"status": Status.FAILED}, {"status": Status.FAILED, "severity": Severity.ERROR}):
        verdict = replace(first, **changed)
        save(engine, [verdict], only_changes=True)
        with engine.begin() as connection:
            assert unshown(connection, first.credential_id) == [first.key]
            mark_shown(connection, [first])  # a run that was told of the verdict before
            assert unshown(connection, first.credential_id) == [first.key]
            mark_shown(connection, [verdict])
            assert unshown(connection, first.credential_id) == []


def test_a_disabled_tenant_is_neither_shown_nor_counted(engine: Engine):
    first, second = save(engine, verdicts_of(engine, 2), only_changes=False)
    with engine.begin() as connection:
        of_it = {"id": first.credential_id}
        connection.execute(text("UPDATE servicetitan_credentials SET enabled = false WHERE id = :id"), of_it)
        assert unshown(connection) == [second.key]
        (found,) = figures(connection, ["invoices"])
    assert found.tenants == 1


def test_of_an_asset_it_is_known_how_many_tenants_fail_and_which_are_worst(engine: Engine):
    passed = verdicts_of(engine, 3)
    made = [
        *passed,
        replace(passed[0], check="references", status=Status.FAILED),
        replace(passed[1], check="references", status=Status.FAILED, since=NOW - timedelta(days=1)),
        replace(passed[2], check="completeness", status=Status.FAILED, severity=Severity.ERROR),
        replace(passed[2], check="references", status=Status.FAILED, since=NOW - timedelta(days=2)),
    ]
    save(engine, made, only_changes=False)
    with engine.connect() as connection:
        assert figures(connection, ["invoices", "jobs"]) == [
            AssetFigures(
                asset="invoices",
                tenants=3,
                failing=3,
                severity=Severity.ERROR,
                worst=[
                    "company-3: completeness", "company-3: references", "company-2: references", "company-1: references"
                ],
                by_check={"completeness": 1, "money": 0, "references": 3},
            )
        ]  # fmt: skip
