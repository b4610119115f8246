"""Streams: a record for each row of the anchor's table, and no other.

Here: comparing the two. Not here: building records (sync/stream.py), which keys wait to be built (postgres/).
"""

from collections.abc import Iterator

from st_pipeline.checks.spec import Check, CheckInput, Finding, Severity, Status
from st_pipeline.entities import ENTITIES
from st_pipeline.entities.spec import KEY
from st_pipeline.postgres.database import transaction
from st_pipeline.streams import STREAMS
from st_pipeline.streams.spec import StreamSpec
from st_pipeline.sync.stream_owner import stream_owners

NAME = "streams"
BUILT = """
    SELECT credential_id, entity FROM sync_cursors
    WHERE credential_id = ANY(:ids) AND entity = ANY(:streams) AND last_full_at IS NOT NULL
"""
# A record that waits to be built, or was rejected, is not judged. A merged row's record no longer exists. A key stands
# once under a company's Intacct id, so one that stands twice is under another id, too.
COMPARED = f"""
    SELECT credential_id, count(key) AS records, count(*) FILTER (WHERE wrong = 'missing') AS missing,
           count(*) FILTER (WHERE wrong = 'doubled') AS doubled, count(*) FILTER (WHERE wrong = 'outdated') AS outdated
    FROM (
        SELECT coalesce(a.credential_id, s.credential_id) AS credential_id, s.key, CASE
            WHEN s.tenant <> o.tenant THEN 'doubled'
            WHEN (s.key IS NULL
                  OR s.still_exists AND (a.{KEY} IS NULL OR a.deleted_at IS NOT NULL)
                  OR NOT s.still_exists AND a.deleted_at IS NULL AND a.{KEY} IS NOT NULL AND a.merged_to_id IS NULL)
                 AND NOT EXISTS (SELECT FROM stream_pending w WHERE w.stream = :stream
                     AND w.credential_id = coalesce(a.credential_id, s.credential_id)
                     AND w.key = coalesce(a.{KEY}, s.key))
                 AND NOT EXISTS (SELECT FROM sync_rejects r WHERE r.entity = :stream
                     AND r.credential_id = coalesce(a.credential_id, s.credential_id)
                     AND r.st_id = coalesce(a.{KEY}, s.key))
            THEN CASE WHEN s.key IS NULL THEN 'missing' ELSE 'outdated' END END AS wrong
        FROM (SELECT credential_id, {KEY}, deleted_at, {{merged}} AS merged_to_id FROM {{anchor}}
              WHERE credential_id = ANY(:of)) a
        FULL JOIN (SELECT credential_id, tenant, CAST({{key}} AS bigint) AS key, still_exists FROM {{table}}
                   WHERE credential_id = ANY(:of)) s ON s.credential_id = a.credential_id AND s.key = a.{KEY}
        LEFT JOIN (SELECT credential_id, tenant FROM stream_owners
                   WHERE credential_id = ANY(:of) AND stream = :stream) o ON o.credential_id = s.credential_id
    ) compared GROUP BY credential_id
"""  # noqa: S608 - names of ours
SAID = {
    "missing": "{} {} have no record",
    "doubled": "{} records of {} stand under another company's number, too",
    "outdated": "{} records of {} say the wrong thing about whether they still exist",
}


def streams(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant and stream that was built before."""
    built = {(row.credential_id, row.entity) for row in asked.rows(BUILT, streams=sorted(asked.assets))}
    with transaction(asked.engine, "read whose records the streams have") as connection:
        owners = stream_owners(connection, asked.credential_ids)
    for name in sorted(asked.assets):
        stream, of = STREAMS[name], []
        for credential_id in asked.credential_ids:
            owner = owners.get((credential_id, name))
            why_not = None if owner is None else owner.why_no_stream(asked.settings)
            if why_not is not None:
                message = f"It is not built: {why_not}."
                yield Finding(credential_id, name, Status.NOT_CHECKABLE, message)
            elif (credential_id, name) in built:
                of.append(credential_id)
        yield from _compared(asked, stream, of)


def _compared(asked: CheckInput, stream: StreamSpec, of: list[int]) -> Iterator[Finding]:
    if not of:
        return
    merged = "merged_to_id" if ENTITIES[stream.anchor].has("merged_to_id") else "CAST(NULL AS bigint)"
    query = COMPARED.format(merged=merged, anchor=stream.anchor_table, key=stream.key, table=stream.table)
    rows = {row.credential_id: row for row in asked.joined_rows(query, of=of, stream=stream.name)}
    for credential_id in of:
        row = rows.get(credential_id)
        records = 0 if row is None else row.records
        wrong = {name: 0 if row is None else getattr(row, name) for name in SAID}
        said = [words.format(wrong[name], stream.anchor) for name, words in SAID.items() if wrong[name]]
        message = f"{'; '.join(said)}." if said else f"Each of the {records} records has its {stream.anchor} row."
        status = Status.FAILED if said else Status.PASSED
        yield Finding(credential_id, stream.name, status, message, {"records": records, **wrong})


CHECKS = (
    Check(
        name=NAME,
        assets=tuple(STREAMS),
        severity=Severity.ERROR,
        description="The stream has one record for each customer or invoice, deleted and merged ones included, and "
        "none twice. Records that wait to be built or were rejected do not count.",
        advice="Run a full sync of the stream (`st-pipeline sync --mode full`), which builds what is missing, then "
        "`st-pipeline explain` one of its records.",
        thresholds=(),
        rule=streams,
        reads_all_rows=True,
    ),
)
