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
ANY_NUMBER = "one number is as good as another, if it is used nowhere else"
THE_CLOCK = "a moment exactly at the limit, by a clock that no test can stop"
ONE_TENANT = "a holder is drawn anew for each lease, so it says which tenant's; the other is for the index"
SET_FIRST = "it is set before it is read"
ONE_MOMENT = "of two spellings of one moment either serves"
MORE_READ = "more rows are read than are used"
COUNTED_FOR_NOTHING = "the guard lets so few pass after counting the rows as well"
A_PLAN = "the same rows, by a slower plan"
NO_LZ4 = "the embedded server has no lz4"
ACCEPTED: dict[str, str] = {
    f"st_pipeline.{name}": reason
    for reason, names in {
        ANY_NUMBER: (
            "postgres.leases: 7305202 becomes 7305203",
            "postgres.leases: 7305202 becomes 7305201",
        ),
        THE_CLOCK: (
            "postgres.leases.take: SQL: < becomes <=",
            "postgres.leases.take_or_wait: 0.0 becomes -1.0",
            "postgres.leases.held_tenants: SQL: > becomes >=",
            (
                "sync.poll_policy.rests: datetime.now(UTC) - max(moments) < timedelta(minutes=setting… becomes "
                "datetime.now(UTC) - max(moments) <= timedelta(minutes=settin…"
            ),
        ),
        ONE_TENANT: (
            "postgres.leases.Lease.extend: SQL: condition dropped: credential_id = :id",
            "postgres.leases.Lease.release: SQL: condition dropped: credential_id = :id",
        ),
        SET_FIRST: ("sync.prepare._Pauses.__init__: True becomes False",),
        ONE_MOMENT: (
            (
                "sync.prepare.Reading.note: later(self.newest_modified_on, chunk.newest_modified_on) becomes "
                "later(chunk.newest_modified_on, self.newest_modified_on)"
            ),
        ),
        MORE_READ: (
            "postgres.stream_pending._facts: SQL: condition dropped: {KEY} = ANY(:ids)",
            "postgres.stream_pending.begun: SQL: condition dropped: entity = ANY(:streams)",
        ),
        COUNTED_FOR_NOTHING: (
            "postgres.soft_deletes.refused_by: dropped from or: guard.marked + guard.withheld + more <= guard.always",
            (
                "postgres.soft_deletes.refused_by: guard.marked + guard.withheld + more <= guard.always becomes "
                "guard.marked + guard.withheld + more < guard.always"
            ),
        ),
        A_PLAN: (
            (
                "postgres.soft_deletes._join_by_hash: left out: "
                "connection.execute(text('SET LOCAL enable_nestloop = off'))"
            ),
            "postgres.soft_deletes.absent_ids: left out: _join_by_hash(connection)",
            "postgres.soft_deletes.unmark_returned: left out: _join_by_hash(connection)",
        ),
        NO_LZ4: ("sync.prepare.Reading.open: left out: chunks.compress_quickly(context.connection)",),
    }.items()
    for name in names
}


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
