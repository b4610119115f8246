"""What Dagster shows of verdicts: which it has not been told yet, and how many tenants fail.

Here: column `shown` of check_verdicts, and figures over all tenants. Not here: the verdicts (check_verdicts), telling
Dagster (defs/).
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from st_pipeline.postgres.check_verdicts import Key, Severity, Verdict

NAMED = 10  # of the tenants that fail, the worst
# Only enabled tenants: the others are not partitions.
UNSHOWN = """
    SELECT v.credential_id, v.asset, v.check_name FROM check_verdicts v JOIN tenants t USING (credential_id)
    WHERE t.enabled AND v.shown IS DISTINCT FROM v.status || ' ' || v.severity
"""
MARK = text("""
    UPDATE check_verdicts v SET shown = r.shown
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (credential_id bigint, asset text, check_name text, shown text)
    WHERE v.credential_id = r.credential_id AND v.asset = r.asset AND v.check_name = r.check_name
      AND v.shown IS DISTINCT FROM r.shown
""")
FIGURES = text(f"""
    SELECT v.asset, v.check_name, count(DISTINCT v.credential_id) AS tenants,
           count(DISTINCT v.credential_id) FILTER (WHERE v.status = 'failed') AS failing,
           coalesce(bool_or(v.severity = 'error') FILTER (WHERE v.status = 'failed'), false) AS is_error,
           coalesce((array_agg(t.partition_key || ': ' || v.check_name
                               ORDER BY v.severity = 'error' DESC, v.since, t.partition_key)
                     FILTER (WHERE v.status = 'failed'))[1:{NAMED}], '{{}}') AS worst
    FROM check_verdicts v JOIN tenants t USING (credential_id)
    WHERE t.enabled AND v.asset = ANY(:assets)
    GROUP BY GROUPING SETS ((v.asset), (v.asset, v.check_name)) ORDER BY v.asset, v.check_name
""")  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class AssetFigures:
    """How many tenants fail a check of an asset. `worst`: which, with the check, errors and the longest first."""

    asset: str
    tenants: int
    failing: int
    severity: Severity
    worst: Sequence[str]
    by_check: dict[str, int]


def unshown(connection: Connection, credential_id: int | None = None) -> list[Key]:
    """The verdicts of enabled tenants, or of one, whose status or severity Dagster has not been told."""
    query = UNSHOWN if credential_id is None else f"{UNSHOWN} AND v.credential_id = :credential_id"
    rows = connection.execute(text(query), {} if credential_id is None else {"credential_id": credential_id})
    return [Key(*row) for row in rows]


def mark_shown(connection: Connection, verdicts: Collection[Verdict]) -> None:
    """Note that Dagster has been told of these verdicts."""
    rows = [
        {**dict(zip(("credential_id", "asset", "check_name"), one.key, strict=True)),
         "shown": f"{one.status} {one.severity}"}
        for one in verdicts
    ]  # fmt: skip
    connection.execute(MARK, {"rows": json.dumps(rows)})


def figures(connection: Connection, assets: Collection[str]) -> list[AssetFigures]:
    """Of the enabled tenants, for each of these assets with a verdict."""
    rows = connection.execute(FIGURES, {"assets": list(assets)}).all()
    by_check = {(row.asset, row.check_name): row.failing for row in rows}
    return [
        AssetFigures(
            row.asset,
            row.tenants,
            row.failing,
            Severity.ERROR if row.is_error else Severity.WARN,
            row.worst,
            {check: failing for (asset, check), failing in by_check.items() if asset == row.asset and check},
        )
        for row in rows
        if row.check_name is None
    ]
