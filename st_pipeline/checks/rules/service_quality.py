"""Service quality: over a day, nearly all of a tenant's syncs, records and requests do what they should.

Here: three shares of the sync log's figures. Not here: counting them (sync/, servicetitan/statistics.py).
"""

import math
from collections.abc import Collection, Iterator
from typing import Any

from st_pipeline.checks.spec import TENANT, Check, CheckInput, Finding, Severity, Status, Threshold

NAME = "service_quality"
SYNCS, RECORDS, SLOW, SLOW_SECONDS = "failed_syncs_share", "failed_records_share", "slow_requests_share", "slow_seconds"
LEAST = "least_number"

# Requests are counted by duration in buckets: number n holds those of up to 2^(n/4) ms.
QUERY = """
    SELECT k.id AS credential_id, k.created_at > :now - interval '1 day' AS is_new, coalesce(f.syncs, 0) AS syncs,
           coalesce(f.failed, 0) AS failed, coalesce(f.records, 0) AS records,
           coalesce(f.records_failed, 0) AS records_failed, coalesce(f.buckets, '{}') AS buckets
    FROM servicetitan_credentials k LEFT JOIN LATERAL (
        SELECT sum(syncs)::bigint AS syncs, sum(failed)::bigint AS failed, sum(records_processed)::bigint AS records,
               sum(records_failed)::bigint AS records_failed, sum_of_counts(buckets) AS buckets
        FROM sync_log_figures WHERE credential_id = k.id AND starts_at > :now - interval '1 day' AND NOT is_running
    ) f ON true
    WHERE k.id = ANY(:ids)
"""
# Only a sync can make it worse, and each is followed by an evaluation; time makes it better.
FAILING = """
    SELECT credential_id FROM check_verdicts
    WHERE check_name = :name AND status = 'failed' AND checked_at <= :now - interval '1 hour'
          AND credential_id = ANY(:ids)
"""


def service_quality(asked: CheckInput) -> Iterator[Finding]:
    """One finding a tenant, over the last 24 hours."""
    for row in asked.rows(QUERY):
        if row.is_new:
            yield Finding(row.credential_id, TENANT, Status.NOT_CHECKABLE, "It is new: less than a day old.")
        elif not row.syncs:
            yield Finding(row.credential_id, TENANT, Status.NOT_CHECKABLE, "No sync in the last 24 hours had news.")
        else:
            yield _finding(row, asked)


def recovering(asked: CheckInput) -> Collection[int]:
    """Those that fail, once an hour."""
    return [row.credential_id for row in asked.rows(FAILING, name=NAME)]


def _finding(row: Any, asked: CheckInput) -> Finding:
    def threshold(name: str) -> float:
        return asked.thresholds.value(row.credential_id, TENANT, NAME, name)

    # Rounded down: a request in the bucket of the bound itself may have taken longer.
    fast = math.floor(4 * math.log2(max(threshold(SLOW_SECONDS) * 1000, 1)))
    requests = sum(row.buckets.values())
    slow = sum(number for bucket, number in row.buckets.items() if int(bucket) > fast)
    parts = {
        "syncs failed": (int(row.failed), int(row.syncs), threshold(SYNCS)),
        "records failed": (int(row.records_failed), int(row.records), threshold(RECORDS)),
        f"requests took longer than {threshold(SLOW_SECONDS):g} s": (slow, requests, threshold(SLOW)),
    }
    figures = {
        "syncs": int(row.syncs),
        "failed_syncs": int(row.failed),
        "records": int(row.records),
        "failed_records": int(row.records_failed),
        "requests": requests,
        "slow_requests": slow,
    }
    least = threshold(LEAST)
    wrong = [
        f"{part:,} of {whole:,} {what} ({part / whole:.1%}; at most {share:.1%})"
        for what, (part, whole, share) in parts.items()
        if part >= least and part > share * whole
    ]
    if not wrong:
        return Finding(row.credential_id, TENANT, Status.PASSED, "Within its bounds over the last 24 hours.", figures)
    message = f"In the last 24 hours {'; '.join(wrong)}."
    return Finding(row.credential_id, TENANT, Status.FAILED, message, figures)


CHECKS = (
    Check(
        name=NAME,
        assets=(TENANT,),
        severity=Severity.WARN,
        description="Over the last 24 hours 99 % of the tenant's syncs succeeded, at most 1 % of the records failed, "
        "and 95 % of the requests took 5 seconds at most. Polls that find nothing do not count.",
        advice="`st-pipeline sync-status --failed-only --last-24h` shows the syncs with their reasons, "
        "`st-pipeline rejects list --summary` the records. Slow requests are ServiceTitan's; `st-pipeline logs` shows "
        "when.",
        thresholds=(
            Threshold(SYNCS, 0.01, "Share of syncs that may fail."),
            Threshold(RECORDS, 0.01, "Share of records that may fail."),
            Threshold(SLOW, 0.05, "Share of requests that may be slow."),
            Threshold(SLOW_SECONDS, 5, "From how many seconds on a request is slow."),
            Threshold(LEAST, 3, "Fewer than so many are never too many: a quiet day has few syncs."),
        ),
        rule=service_quality,
        is_time_driven=True,
        at_tick=recovering,
    ),
)
