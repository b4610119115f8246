"""A tenant's own schedule, requests to stop a sync, and what kind of error ended an entity."""

from alembic import op

revision = "0010"
down_revision = "0009"

UP = """
CREATE TABLE tenant_schedules (
    credential_id bigint PRIMARY KEY REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    paused_at timestamptz,
    paused_because text,
    poll_minutes integer CHECK (poll_minutes > 0),
    nightly_full boolean,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT a_reason_needs_a_pause CHECK (paused_at IS NOT NULL OR paused_because IS NULL)
);
COMMENT ON TABLE tenant_schedules IS 'What schedules do with a tenant, where that differs from the settings.';
COMMENT ON COLUMN tenant_schedules.paused_at IS 'Since when schedules leave it alone. A person''s sync still works.';
COMMENT ON COLUMN tenant_schedules.poll_minutes IS 'Polled once in so many minutes, counted from midnight UTC. Null: '
    'with every tick.';
COMMENT ON COLUMN tenant_schedules.nightly_full IS 'Read in full by the nightly schedule. Null: yes.';

CREATE TABLE sync_stops (
    sync_id uuid PRIMARY KEY,
    reason text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sync_stops IS 'Syncs that are to end: every chunk looks here in the statement that extends its lease.';

CREATE INDEX sync_logs_by_sync ON servicetitan_sync_logs (sync_id);
ALTER TABLE sync_log_entities ADD COLUMN error_kind text;
COMMENT ON COLUMN sync_log_entities.error_kind IS 'The class of the error that ended it; null when its process died.';
"""

DOWN = """
ALTER TABLE sync_log_entities DROP COLUMN error_kind;
DROP INDEX sync_logs_by_sync;
DROP TABLE sync_stops;
DROP TABLE tenant_schedules;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
