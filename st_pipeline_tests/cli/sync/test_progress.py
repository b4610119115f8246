"""The line that shows the result of a tenant's sync."""

from st_pipeline.cli.sync.progress import line_of
from st_pipeline.operations.run_figures import FIGURES


def line(**result: object) -> str:
    """The line of a result, with everything else as it is when nothing happened."""
    nothing = {f"records_{name}": 0 for name in FIGURES}
    said = {"tenant": "acme", "dagster_run_id": "run", "sync_log_id": None, "message": "why", "seconds": 2.5, **nothing}
    return str(line_of(said | result))


def test_a_failed_sync_that_read_nothing_does_not_say_that_nothing_changed():
    assert line(status="failed") == "acme: failed after 2.5 s\n  why"
    assert line(status="failed", dagster_run_id=None, seconds=0.0) == "acme: failed\n  why"


def test_a_failed_sync_says_what_it_did_all_the_same():
    did = line(status="failed", records_processed=3, records_created=3, sync_log_id=7)
    assert did == "acme: failed, 3 records, 3 created, 2.5 s\n  why\n  st-pipeline logs 7"


def test_a_sync_that_found_nothing_says_so():
    assert line(status="completed") == "acme: completed, 0 records, nothing changed, 2.5 s"
