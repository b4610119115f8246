"""What the benchmark's programs are told, what they tell, and the CPU of Postgres.

Here: the two values, read from standard input and written to standard output as JSON. Not here: the programs.
"""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

ENTITIES = ("customers", "invoices")
FOLDER = Path(__file__).parent
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Job(msgspec.Struct):
    """A load of one tenant's customers and invoices into an empty database. `postmaster`: its process id."""

    api_url: str
    tenant_id: int
    client_id: str
    client_secret: str
    app_key: str
    encryption_keys: str
    database_url: str
    postmaster: int
    full_data: bool

    @classmethod
    def read(cls) -> "Job":
        """The job on standard input."""
        return msgspec.json.decode(sys.stdin.buffer.read(), type=cls)


class Figures(msgspec.Struct):
    """CPU seconds of a load. `presence_*`: of the walk for what is gone, which only our full sync makes.

    `wall`: seconds it took, that walk apart. `peak_mb`: of the program's memory.
    """

    rows: int
    imports: float
    client: float
    postgres: float
    presence_client: float = 0.0
    presence_postgres: float = 0.0
    wall: float = 0.0
    peak_mb: int = 0


@dataclass
class Clock:
    """CPU of this process and of Postgres since it was made."""

    postmaster: int

    def __post_init__(self) -> None:
        self._postgres, self._client = postgres_seconds(self.postmaster), time.process_time()

    def read(self) -> tuple[float, float]:
        """Seconds of the client, seconds of Postgres."""
        return time.process_time() - self._client, postgres_seconds(self.postmaster) - self._postgres


def postgres_seconds(postmaster: int) -> float:
    """CPU of the server and all its processes, those that have ended included."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if folder.name == str(postmaster):
            total += sum(map(int, fields[11:15]))
        elif fields[1] == str(postmaster):
            total += sum(map(int, fields[11:13]))
    return total / TICKS_PER_SECOND
