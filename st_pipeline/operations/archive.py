"""Deleted rows kept as files: gzip, one JSON document a line, for whoever sets a folder for them.

Here: writing them, and settling what a killed process left. Not here: which rows are deleted (retention).

A file is complete on the disk before its rows are deleted, and gets its final name after that was committed. Killed in
between, it still ends in `.part`; the next process asks whether its first row is still there. If so, nothing of it was
deleted, and the file goes: the rows will come again. If not, it gets its name. So no row is lost, and none is twice.
"""

import gzip
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from st_pipeline.errors import ConfigurationError

PART = ".part"
Write = Callable[[int, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Archive:
    """The folder; without one nothing is kept. Files hold what the rows held, so only their owner may read them."""

    folder: Path | None

    @property
    def is_on(self) -> bool:
        """Are deleted rows to be kept?"""
        return self.folder is not None

    @contextmanager
    def batch(self, kind: str, now: datetime) -> Iterator[Write]:
        """A block that deletes one batch: it calls what it gets with the first row's id and the documents.

        After an error the file stays for `settle`: the commit may have succeeded all the same.
        """
        written: list[Path] = []

        def write(first_id: int, documents: Sequence[str]) -> None:
            if self.folder is not None and documents:
                name = f"{kind}-{now:%Y%m%dT%H%M%SZ}-{first_id}.jsonl.gz{PART}"
                written.append(_write(self.folder, name, documents))

        yield write
        for path in written:
            path.rename(path.with_suffix(""))

    def settle(self, is_there: Callable[[str, int], bool], kinds: Collection[str]) -> None:
        """Give the files of a killed process their names, or drop them, of these kinds.

        `is_there`: has this kind a row of this id?
        """
        for path in sorted(self.folder.glob(f"*{PART}")) if self.folder is not None else ():
            kind, _, rest = path.name.partition("-")
            if kind not in kinds:
                continue
            first_id = int(rest.partition("-")[2].partition(".")[0])
            if is_there(kind, first_id):
                path.unlink()
            else:
                path.rename(path.with_suffix(""))


def _write(folder: Path, name: str, documents: Sequence[str]) -> Path:
    """Write a file and have the disk confirm it. Raises ConfigurationError."""
    path = folder / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(fileobj=raw, mode="wb") as packed:
                packed.writelines(document.encode() + b"\n" for document in documents)
            raw.flush()
            os.fsync(raw.fileno())
        _sync_folder(folder)
    except OSError as error:
        raise ConfigurationError(
            f"archive deleted rows in {folder}: {error.strerror}. Nothing of this batch was deleted; make the folder "
            "writable and free space there, or set ST_PIPELINE_ARCHIVE_FOLDER to another one"
        ) from None
    return path


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
