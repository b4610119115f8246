"""Checks: the verdict on each tenant's data, its history, and the tenants' own thresholds."""

from alembic import op

revision = "0027"
down_revision = "0026"

UP = """
CREATE TABLE check_verdicts (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    asset text NOT NULL,
    check_name text NOT NULL,
    status text NOT NULL CHECK (status IN ('passed', 'failed', 'not checkable')),
    severity text NOT NULL CHECK (severity IN ('warn', 'error')),
    since timestamptz NOT NULL,
    checked_at timestamptz NOT NULL,
    message text NOT NULL,
    figures jsonb NOT NULL,
    causes text[] NOT NULL DEFAULT '{}',
    accepted text[] NOT NULL DEFAULT '{}',
    acknowledged_at timestamptz,
    acknowledged_by text,
    acknowledged_because text,
    acknowledged_until timestamptz,
    PRIMARY KEY (credential_id, asset, check_name),
    CONSTRAINT somebody_acknowledges CHECK ((acknowledged_at IS NULL) = (acknowledged_by IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX check_verdicts_failed ON check_verdicts (credential_id) WHERE status = 'failed';
COMMENT ON TABLE check_verdicts IS 'The latest verdict of each check on each tenant.';
COMMENT ON COLUMN check_verdicts.asset IS 'The entity or stream; `tenant` for what concerns the tenant as a whole.';
COMMENT ON COLUMN check_verdicts.since IS 'Since when it has this status.';
COMMENT ON COLUMN check_verdicts.checked_at IS 'When message and figures were written. Checks that run with every tick '
    'write only changes, and every hour what fails.';
COMMENT ON COLUMN check_verdicts.causes IS 'What is wrong, item by item, where each is accepted for itself: drift.';
COMMENT ON COLUMN check_verdicts.accepted IS 'The causes that a person has accepted; they fail no check again.';
COMMENT ON COLUMN check_verdicts.acknowledged_until IS 'Until when the acknowledgement holds; null: until it recovers.';

CREATE TABLE check_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    asset text NOT NULL,
    check_name text NOT NULL,
    status_before text,
    status text NOT NULL,
    severity text NOT NULL,
    at timestamptz NOT NULL,
    message text NOT NULL,
    figures jsonb NOT NULL
);
CREATE INDEX check_history_of_a_tenant ON check_history (credential_id, at);
COMMENT ON TABLE check_history IS 'One row for each change of a verdict; status_before is null for the first one.';

CREATE TABLE check_thresholds (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    entity text NOT NULL,
    check_name text NOT NULL,
    name text NOT NULL,
    value double precision NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (credential_id, entity, check_name, name)
);
COMMENT ON TABLE check_thresholds IS 'Thresholds of a tenant that differ from everybody''s.';
COMMENT ON COLUMN check_thresholds.entity IS 'The entity or asset it is for; empty: all of them.';
"""

DOWN = """
DROP TABLE check_thresholds;
DROP TABLE check_history;
DROP TABLE check_verdicts;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
