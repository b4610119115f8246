"""What may be asked for, and what a sync reports of it."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from st_pipeline.errors import ConfigurationError, ServiceUnavailable
from st_pipeline.protocol import Counts, Mode
from st_pipeline.sync.configuration import EntityOutcome, SyncConfiguration, SyncResult, moment
from st_pipeline.sync.context import EntityResult
from st_pipeline.sync.data_types import SYNCED

MAY = datetime(2026, 5, 1, tzinfo=UTC)
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"data_type": "customer"}, "unknown data type 'customer': did you mean customer_contacts or customers"),
        ({"only": ("jobs", "zebras", "apes")}, "unknown entity 'zebras': take one of "),
        (
            {"data_type": "invoices", "only": ("customers",)},
            "entity customers is not part of data type invoices, which means ",
        ),
        ({"modified_from": datetime(2026, 5, 1)}, "2026-05-01T00:00:00 has no zone"),  # noqa: DTZ001
        ({"modified_to": datetime(2026, 5, 1)}, "2026-05-01T00:00:00 has no zone"),  # noqa: DTZ001
        ({"modified_from": JUNE, "modified_to": MAY}, "before it starts"),
        ({"modified_from": MAY, "modified_to": MAY}, "before it starts"),
        ({"batch_size": 0}, "a batch of 0 rows"),
        ({"sync_type": "nightly"}, "unknown sync type 'nightly': take one of manual, scheduled"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(asked: dict[str, object], said: str):
    with pytest.raises(ConfigurationError, match=said):
        SyncConfiguration(**asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "mode"),
    [
        ({}, Mode.INCREMENTAL),
        ({"incremental_only": False}, Mode.FULL),
        ({"modified_from": MAY}, Mode.WINDOW),
        ({"modified_to": MAY, "incremental_only": False}, Mode.WINDOW),
        ({"modified_from": MAY, "modified_to": JUNE}, Mode.WINDOW),
        ({"batch_size": 1, "sync_type": "scheduled"}, Mode.INCREMENTAL),
    ],
)
def test_the_mode_follows_from_what_was_asked_for(asked: dict[str, object], mode: Mode):
    assert SyncConfiguration(**asked).mode is mode  # type: ignore[arg-type]


def test_the_entities_are_those_of_the_data_type_or_the_named_ones_of_them_in_the_usual_order():
    assert SyncConfiguration().entities == tuple(SYNCED)
    some = SyncConfiguration(only=("jobs", "customers"))
    assert (some.entities, some.label) == (("customers", "jobs"), "only customers, jobs")
    assert SyncConfiguration(data_type="invoices").label == "invoices"


def test_the_sync_log_keeps_what_it_takes_to_do_the_same_again():
    assert SyncConfiguration(only=("jobs",)).as_details() == {"entities": ["jobs"]}
    asked = SyncConfiguration(
        only=("jobs",), modified_from=MAY, modified_to=JUNE, rewrite=True, allow_deletions=True, batch_size=7
    )
    assert asked.as_details() == {
        "entities": ["jobs"],
        "modified_from": "2026-05-01T00:00:00+00:00",
        "modified_to": "2026-06-01T00:00:00+00:00",
        "rewrite": True,
        "allow_deletions": True,
        "batch_size": 7,
    }


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", None),
        ("2026-05-01", MAY),
        ("2026-05-01T00:00:00Z", MAY),
        ("2026-05-01T02:00+02:00", MAY.astimezone(timezone(timedelta(hours=2)))),
        ("2026-05-01T00:00:00", datetime(2026, 5, 1)),  # noqa: DTZ001 - the configuration refuses it
    ],
)
def test_a_bare_day_is_its_start_in_utc_and_a_time_stays_as_written(written: str, expected: datetime | None):
    read = moment("--from", written)
    assert read == expected
    assert (read is None or read.utcoffset()) == (expected is None or expected.utcoffset())


def test_a_time_that_cannot_be_read_names_its_option():
    with pytest.raises(ConfigurationError, match=r"^--from is .*2026-01-31"):
        moment("--from", "yesterday")


def outcome(entity: str, error: Exception | None = None) -> EntityOutcome:
    """Of an entity that read three records."""
    return EntityOutcome(entity, EntityResult(entity, Mode.FULL, Counts(processed=3, created=2, failed=1)), error)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (None, None),
        (ServiceUnavailable("tag types: 503"), "tag types: 503"),
        (ValueError("a customer's name"), "unexpected ValueError; the log of the run has the place"),
    ],
)
def test_only_errors_of_ours_are_quoted(error: Exception | None, message: str | None):
    """What another library says may hold a record."""
    assert outcome("tag_types", error).message == message
    assert outcome("tag_types", error).report


def test_the_figures_of_a_sync_are_those_of_its_entities_and_not_of_its_streams():
    result = SyncResult("acme", uuid.UUID(int=1), outcomes=[outcome("jobs"), outcome("estimates")])
    assert (result.counts.processed, result.counts.created, result.counts.failed) == (6, 4, 2)
    result.outcomes.append(outcome("invoices_stream"))
    assert result.counts.processed == 6
    assert result.success
    result.errors.append("jobs: 503")
    assert not result.success
