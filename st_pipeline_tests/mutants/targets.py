"""What is mutated, and which mutants change nothing that a test could see.

Here: the one list of rooms, and the accepted mutants with their reasons. Not here: how mutants are made.
"""

from collections.abc import Iterator
from pathlib import Path

PACKAGE = "st_pipeline"
ROOMS = ("sync", "streams", "postgres")
# Not the path of a chunk: opening and migrating databases, Dagster's own, and what only schedules and commands ask.
OUTSIDE = {
    "postgres": {
        "dagster_database",
        "database",
        "index_builds",
        "migrations",
        "readers",
        "run_sessions",
        "scheduled_work",
        "sync_log",
        "tables",
        "tenant_schedules",
    }
}
# A mutant's name, and why no test can tell it from the original.
ACCEPTED: dict[str, str] = {}


def target_files(root: Path) -> Iterator[tuple[str, Path]]:
    """The modules to mutate, by dotted name. Raises FileNotFoundError: a room or a module above has moved."""
    for room in ROOMS:
        folder = root / PACKAGE / room
        missing = [name for name in OUTSIDE.get(room, ()) if not (folder / f"{name}.py").exists()]
        if missing or not folder.is_dir():
            raise FileNotFoundError(f"{folder} has no {', '.join(missing) or 'modules'}: correct {__file__}")
        for path in sorted(folder.glob("*.py")):
            if path.stem not in OUTSIDE.get(room, ()):
                yield f"{PACKAGE}.{room}.{path.stem}".removesuffix(".__init__"), path
