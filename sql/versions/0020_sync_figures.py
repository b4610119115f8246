"""The figures of syncs by hour and by day, which stay when the rows of the sync log are deleted."""

from alembic import op

revision = "0020"
down_revision = "0019"

_RECORDS = ("processed", "successful", "failed", "created", "updated", "unchanged", "deleted")
_COLUMNS = ",\n    ".join(f"records_{name} bigint NOT NULL" for name in _RECORDS)
_RECORDS_OF_L = ", ".join(f"l.records_{name}" for name in _RECORDS)
_RECORDS_OF_E = ", ".join(f"e.records_{name}" for name in _RECORDS)
_API = ("requests", "retries", "rate_limited", "token_requests", "bytes")
_API_OF_L = ", ".join(f"coalesce((l.details->'api'->>'{name}')::bigint, 0) AS {name}" for name in _API)
_ROLLED_UP = f"syncs, failed, {', '.join(f'records_{name}' for name in _RECORDS)}"

# fillfactor: a row is updated by each batch of its hour that is rolled up.
UP = f"""
CREATE TABLE sync_figures (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    period text NOT NULL CHECK (period IN ('hour', 'day')),
    starts_at timestamptz NOT NULL,
    syncs bigint NOT NULL,
    failed bigint NOT NULL,
    {_COLUMNS},
    seconds double precision NOT NULL,
    {", ".join(f"{name} bigint NOT NULL" for name in _API)},
    longest_ms double precision NOT NULL,
    buckets jsonb NOT NULL,
    PRIMARY KEY (credential_id, period, starts_at)
) WITH (fillfactor = 80);
CREATE INDEX sync_figures_by_start ON sync_figures (period, starts_at);
COMMENT ON TABLE sync_figures IS 'Figures of syncs whose rows in the log are deleted, by hour, later by day (UTC).';
COMMENT ON COLUMN sync_figures.starts_at IS 'The hour or day in which the syncs began.';
COMMENT ON COLUMN sync_figures.buckets IS 'n to the number of requests of up to 2^(n/4) ms.';

CREATE TABLE sync_figures_entities (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    entity text NOT NULL,
    period text NOT NULL CHECK (period IN ('hour', 'day')),
    starts_at timestamptz NOT NULL,
    syncs bigint NOT NULL,
    failed bigint NOT NULL,
    {_COLUMNS},
    seconds double precision NOT NULL,
    pages bigint NOT NULL,
    PRIMARY KEY (credential_id, period, starts_at, entity)
) WITH (fillfactor = 80);
CREATE INDEX sync_figures_entities_by_start ON sync_figures_entities (period, starts_at);
COMMENT ON TABLE sync_figures_entities IS 'The same by entity, of the rows that the syncs had for it.';

CREATE FUNCTION counts_added(one jsonb, other jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN (
    SELECT coalesce(jsonb_object_agg(key, total), '{{}}') FROM (
        SELECT key, sum(value::bigint) AS total
        FROM (SELECT * FROM jsonb_each_text(one) UNION ALL SELECT * FROM jsonb_each_text(other)) both_of GROUP BY key
    ) sums);
CREATE AGGREGATE sum_of_counts(jsonb) (SFUNC = counts_added, STYPE = jsonb, INITCOND = '{{}}');

CREATE VIEW sync_log_figures WITH (security_invoker = true) AS
SELECT l.id AS sync_log_id, l.credential_id, l.started_at AS starts_at, l.status = 'running' AS is_running,
       1::bigint AS syncs, (l.status = 'failed')::integer::bigint AS failed, {_RECORDS_OF_L},
       coalesce(l.duration_seconds, 0) AS seconds, {_API_OF_L},
       coalesce((l.details->'api'->>'longest_ms')::float8, 0) AS longest_ms,
       coalesce(l.details->'api'->'buckets', '{{}}') AS buckets
FROM servicetitan_sync_logs l;
COMMENT ON VIEW sync_log_figures IS 'A sync in the log, in the columns of sync_figures.';

CREATE VIEW sync_log_entity_figures WITH (security_invoker = true) AS
SELECT l.id AS sync_log_id, l.credential_id, e.entity, l.started_at AS starts_at, e.status = 'running' AS is_running,
       1::bigint AS syncs, (e.status = 'failed')::integer::bigint AS failed, {_RECORDS_OF_E},
       coalesce(extract(epoch FROM e.completed_at - e.started_at)::float8, 0) AS seconds, e.pages
FROM sync_log_entities e JOIN servicetitan_sync_logs l ON l.id = e.sync_log_id;

CREATE VIEW sync_history WITH (security_invoker = true) AS
SELECT credential_id, 'sync' AS period, starts_at, is_running, {_ROLLED_UP}, seconds, {", ".join(_API)}, longest_ms,
       buckets FROM sync_log_figures
UNION ALL
SELECT credential_id, 'hour', starts_at, false, {_ROLLED_UP}, seconds, {", ".join(_API)}, longest_ms, buckets
FROM sync_figures WHERE period = 'hour'
UNION ALL
SELECT credential_id, 'day', starts_at, false, {_ROLLED_UP}, seconds, {", ".join(_API)}, longest_ms, buckets
FROM sync_figures WHERE period = 'day';
COMMENT ON VIEW sync_history IS 'Every sync there was: each one in the log, then sums by hour, then by day. No row '
    'counts in another.';

CREATE VIEW sync_history_entities WITH (security_invoker = true) AS
SELECT credential_id, entity, 'sync' AS period, starts_at, is_running, {_ROLLED_UP}, seconds, pages
FROM sync_log_entity_figures
UNION ALL
SELECT credential_id, entity, 'hour', starts_at, false, {_ROLLED_UP}, seconds, pages
FROM sync_figures_entities WHERE period = 'hour'
UNION ALL
SELECT credential_id, entity, 'day', starts_at, false, {_ROLLED_UP}, seconds, pages
FROM sync_figures_entities WHERE period = 'day';
COMMENT ON VIEW sync_history_entities IS 'The same by entity.';
"""  # noqa: S608 - names of ours

DOWN = """
DROP VIEW sync_history_entities, sync_history, sync_log_entity_figures, sync_log_figures;
DROP AGGREGATE sum_of_counts(jsonb);
DROP FUNCTION counts_added;
DROP TABLE sync_figures_entities, sync_figures;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
