"""Files of deleted rows: complete before the rows go, and each row once, wherever the process is killed."""

import gzip
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from st_pipeline.errors import ConfigurationError
from st_pipeline.operations.archive import Archive

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NAME = "sync_log-20260310T120000Z-7.jsonl.gz"
KINDS = ("sync_log",)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def lines(path: Path) -> list[int]:
    return [json.loads(line)["id"] for line in gzip.decompress(path.read_bytes()).splitlines()]


def killed_while_deleting(folder: Path) -> None:
    """A process that wrote the file and did not come to know whether its rows were deleted."""
    with suppress(KeyboardInterrupt), Archive(folder).batch("sync_log", NOW) as keep:
        keep(7, ['{"id": 7}', '{"id": 9}'])
        raise KeyboardInterrupt


def test_a_file_has_its_name_once_its_rows_are_deleted_and_only_its_owner_reads_it(tmp_path: Path):
    folder = tmp_path / "archive"
    with Archive(folder).batch("sync_log", NOW) as keep:
        keep(7, ['{"id": 7}', '{"id": 9}'])
        assert names(folder) == [NAME + ".part"]
        assert lines(folder / (NAME + ".part")) == [7, 9]  # complete before anything is deleted
    assert names(folder) == [NAME]
    assert [(path.stat().st_mode & 0o777) for path in (folder, folder / NAME)] == [0o700, 0o600]


@pytest.mark.parametrize(("is_there", "left"), [(False, [NAME]), (True, [])])
def test_what_a_killed_process_left_is_kept_if_its_rows_are_gone(tmp_path: Path, is_there: bool, left: list[str]):
    killed_while_deleting(tmp_path)
    asked = []
    Archive(tmp_path).settle(lambda kind, id_: asked.append((kind, id_)) or is_there, KINDS)  # type: ignore[func-returns-value]
    assert asked == [("sync_log", 7)]
    assert names(tmp_path) == left


def test_files_of_another_database_wait_for_whoever_can_ask_it(tmp_path: Path):
    killed_while_deleting(tmp_path)
    Archive(tmp_path).settle(lambda _kind, _id: True, ("rejects",))
    assert names(tmp_path) == [NAME + ".part"]


def test_without_a_folder_and_without_rows_nothing_is_written(tmp_path: Path):
    for archive, documents in ((Archive(None), ["{}"]), (Archive(tmp_path), [])):
        with archive.batch("sync_log", NOW) as keep:
            keep(7, documents)
        archive.settle(lambda _kind, _id: True, KINDS)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_named_and_nothing_is_deleted(tmp_path: Path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(
            ConfigurationError, match=r"archive deleted rows in .*/file: .*Nothing of this batch was deleted"
        ),
        Archive(tmp_path / "file").batch("sync_log", NOW) as keep,
    ):
        keep(7, ["{}"])
