"""Free space on this machine's disks that hold data.

Here: which folders, and how much is free. Not here: what too little of it leads to (collect.py, the doctor).
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from st_pipeline.postgres.database import embedded_folder
from st_pipeline.settings import Settings

# Of what ST_PIPELINE_ALERT_LEAST_FREE_BYTES asks for: below this share it is an error. By default that is 256 MB,
# sixteen files of Postgres's write-ahead log.
ERROR_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk, by the folder on it that matters."""

    folder: Path
    free_bytes: int
    total_bytes: int

    def state(self, least_free_bytes: float) -> Literal["ok", "warning", "wrong"]:
        """Is as much free as there should be?"""
        if self.free_bytes < least_free_bytes * ERROR_SHARE:
            return "wrong"
        return "warning" if self.free_bytes < least_free_bytes else "ok"

    def __str__(self) -> str:
        """For people."""
        return f"{self.free_bytes / 1024**3:.1f} GB free at {self.folder}"


def disks(settings: Settings) -> Iterator[Disk]:
    """The disks of our folder, of the embedded Postgres if it is ours, and of the archive: each once."""
    seen = set()
    for folder in _folders(settings):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        device = there.stat().st_dev
        if device not in seen:
            seen.add(device)
            usage = shutil.disk_usage(there)
            yield Disk(there, usage.free, usage.total)


def _folders(settings: Settings) -> Iterator[Path]:
    yield settings.home
    if settings.database_url is None:
        from st_pipeline.embedded_postgres import embedded  # 0.06 CPU s, which nobody with a DATABASE_URL needs

        server = embedded.status(embedded_folder(settings))
        if server is not None:
            yield server.data_folder
    if settings.archive_folder is not None:
        yield settings.archive_folder
