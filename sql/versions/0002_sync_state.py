"""The sync log, cursors, leases, rejects, and the ids a full pass has seen."""

from alembic import op

revision = "0002"
down_revision = "0001"

UP = """
CREATE TABLE servicetitan_sync_logs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    sync_id uuid NOT NULL,
    sync_type text NOT NULL CHECK (sync_type IN ('manual', 'scheduled')),
    mode text NOT NULL CHECK (mode IN ('incremental', 'full', 'window')),
    data_type text NOT NULL,
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'failed')),
    started_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    duration_seconds double precision,
    records_processed bigint NOT NULL DEFAULT 0,
    records_successful bigint NOT NULL DEFAULT 0,
    records_failed bigint NOT NULL DEFAULT 0,
    records_created bigint NOT NULL DEFAULT 0,
    records_updated bigint NOT NULL DEFAULT 0,
    records_unchanged bigint NOT NULL DEFAULT 0,
    records_deleted bigint NOT NULL DEFAULT 0,
    records_expected bigint,
    message text,
    details jsonb NOT NULL DEFAULT '{}',
    dagster_run_id text,
    CONSTRAINT completed_when_not_running CHECK ((status = 'running') = (completed_at IS NULL))
);
CREATE INDEX sync_logs_by_credential ON servicetitan_sync_logs (credential_id, id DESC);
CREATE INDEX sync_logs_by_start ON servicetitan_sync_logs (started_at DESC);
CREATE INDEX sync_logs_running ON servicetitan_sync_logs (credential_id) WHERE status = 'running';
COMMENT ON COLUMN servicetitan_sync_logs.sync_id IS 'Shared by the tenants of one sync; also a tag of the Dagster run.';
COMMENT ON COLUMN servicetitan_sync_logs.records_expected IS 'Rows the source announced, where it did; for progress.';

CREATE TABLE sync_log_entities (
    sync_log_id bigint NOT NULL REFERENCES servicetitan_sync_logs (id) ON DELETE CASCADE,
    entity text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('incremental', 'full', 'window')),
    status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'failed')),
    started_at timestamptz NOT NULL DEFAULT now(),
    completed_at timestamptz,
    records_processed bigint NOT NULL DEFAULT 0,
    records_successful bigint NOT NULL DEFAULT 0,
    records_failed bigint NOT NULL DEFAULT 0,
    records_created bigint NOT NULL DEFAULT 0,
    records_updated bigint NOT NULL DEFAULT 0,
    records_unchanged bigint NOT NULL DEFAULT 0,
    records_deleted bigint NOT NULL DEFAULT 0,
    pages bigint NOT NULL DEFAULT 0,
    cursor_before text,
    cursor_after text,
    message text,
    PRIMARY KEY (sync_log_id, entity)
);

CREATE TABLE sync_cursors (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    entity text NOT NULL,
    continue_from text,
    newest_modified_on text,
    full_continue_from text,
    full_started_at timestamptz,
    full_stage text CHECK (full_stage IN ('records', 'presence')),
    full_page integer NOT NULL DEFAULT 0,
    last_full_at timestamptz,
    last_polled_at timestamptz,
    last_reported_at timestamptz,
    last_failed_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (credential_id, entity)
);
COMMENT ON COLUMN sync_cursors.continue_from IS 'Feed token of the last page all of whose rows are committed.';
COMMENT ON COLUMN sync_cursors.newest_modified_on IS 'As the source wrote it: a parsed value rounds and can skip rows.';
COMMENT ON COLUMN sync_cursors.full_started_at IS 'Set while a full pass is under way; it goes on where it was left.';
COMMENT ON COLUMN sync_cursors.last_polled_at IS 'The last look at the source, whether or not anything had changed.';

CREATE TABLE seen_ids (
    credential_id bigint NOT NULL,
    entity text NOT NULL,
    st_id bigint NOT NULL,
    PRIMARY KEY (credential_id, entity, st_id)
);
COMMENT ON TABLE seen_ids IS 'Ids the list showed in the full pass under way. Durable, so that a kill loses none.';

CREATE TABLE sync_rejects (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    entity text NOT NULL,
    record_key text NOT NULL,
    st_id bigint,
    record bytea NOT NULL,
    reasons text[] NOT NULL,
    times integer NOT NULL DEFAULT 1,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    sync_log_id bigint REFERENCES servicetitan_sync_logs (id) ON DELETE SET NULL,
    dismissed_at timestamptz,
    UNIQUE (credential_id, entity, record_key)
);
CREATE INDEX sync_rejects_log ON sync_rejects (sync_log_id);
COMMENT ON TABLE sync_rejects IS 'Records that failed to decode or validate, until they pass or are dismissed.';
COMMENT ON COLUMN sync_rejects.record_key IS 'The id where one can be read, else a hash of the bytes.';

CREATE TABLE tenant_leases (
    credential_id bigint PRIMARY KEY REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    holder uuid NOT NULL,
    holder_name text NOT NULL,
    backend_pid integer NOT NULL,
    backend_start timestamptz NOT NULL,
    taken_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
COMMENT ON TABLE tenant_leases IS 'One run works on a tenant at a time; every chunk checks and extends its lease.';
COMMENT ON COLUMN tenant_leases.backend_pid IS 'The holder''s connection: when it is gone, so is the holder.';
"""

DOWN = """
DROP TABLE tenant_leases;
DROP TABLE sync_rejects;
DROP TABLE seen_ids;
DROP TABLE sync_cursors;
DROP TABLE sync_log_entities;
DROP TABLE servicetitan_sync_logs;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
