"""Where the tests' servers keep their data: in memory where the machine has room for it, else on disk.

Here: the choice of a folder. Not here: starting a server (conftest.py, embedded_postgres/embedded_servers.py).
"""

import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux keeps it in memory; it is only a place for a folder of our own
LEAST_FREE_BYTES = 6_000_000_000
"""A server of the suite comes to about 0.5 GB, and each worker has one. Containers often have 64 MB here."""


def make_folder(prefix: str) -> Path:
    """A new folder for a server's data.

    A copy of a database is 300 new files. On disk that costs 0.03 to 0.5 CPU seconds, by what else is written at the
    time; in memory 0.04.
    """
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= LEAST_FREE_BYTES
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if in_memory else None))
