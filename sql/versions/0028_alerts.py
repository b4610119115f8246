"""Problems that people are told about, the messages about them, the channels they go through, and silences."""

from alembic import op

revision = "0028"
down_revision = "0027"

UP = """
CREATE TABLE alert_problems (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause text NOT NULL,
    tenant text,
    subject text NOT NULL DEFAULT '',
    severity text NOT NULL CHECK (severity IN ('warn', 'error')),
    message text NOT NULL,
    figures jsonb NOT NULL DEFAULT '{}',
    since timestamptz NOT NULL,
    hold_until timestamptz NOT NULL,
    part_of bigint REFERENCES alert_problems (id) ON DELETE SET NULL,
    opened_at timestamptz,
    gone_since timestamptz,
    closed_at timestamptz,
    times integer NOT NULL DEFAULT 1,
    acknowledged_by text,
    acknowledged_at timestamptz,
    because text,
    CONSTRAINT acknowledged_by_somebody CHECK ((acknowledged_by IS NULL) = (acknowledged_at IS NULL))
);
CREATE UNIQUE INDEX alert_problems_open ON alert_problems (cause, tenant, subject) NULLS NOT DISTINCT
    WHERE closed_at IS NULL;
CREATE INDEX alert_problems_closed ON alert_problems (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX alert_problems_part_of ON alert_problems (part_of);
COMMENT ON TABLE alert_problems IS 'What is wrong, or was: one row for each time that it was. Written when something '
    'changes, not with every tick.';
COMMENT ON COLUMN alert_problems.tenant IS 'The partition key; null where it concerns no single tenant. No foreign '
    'key: the alert outlives the tenant.';
COMMENT ON COLUMN alert_problems.subject IS 'What else it is about: an environment, a job, a disk, a channel.';
COMMENT ON COLUMN alert_problems.hold_until IS 'It alerts only if it is still there then.';
COMMENT ON COLUMN alert_problems.part_of IS 'The problem that explains this one, or the alert about many tenants that '
    'tells of it: it sends no message of its own.';
COMMENT ON COLUMN alert_problems.opened_at IS 'When it became an alert; null while it is held back.';
COMMENT ON COLUMN alert_problems.gone_since IS 'Since when it has not been seen; null while it is there.';
COMMENT ON COLUMN alert_problems.times IS 'How often it alerted within a day: the more often, the longer it must be '
    'gone to be over.';

CREATE TABLE alert_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    occasion text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('opened', 'worsened', 'closed', 'digest')),
    problem_id bigint REFERENCES alert_problems (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    not_before timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    delivered_at timestamptz,
    withdrawn_at timestamptz,
    error text,
    CONSTRAINT once_a_channel UNIQUE (channel, occasion),
    CONSTRAINT about_a_problem CHECK ((kind = 'digest') = (problem_id IS NULL))
);
CREATE INDEX alert_deliveries_waiting ON alert_deliveries (not_before)
    WHERE delivered_at IS NULL AND withdrawn_at IS NULL;
CREATE INDEX alert_deliveries_problem ON alert_deliveries (problem_id);
COMMENT ON TABLE alert_deliveries IS 'Messages to each channel, sent or still to send.';
COMMENT ON COLUMN alert_deliveries.occasion IS 'What it tells: no channel is told of one occasion twice.';
COMMENT ON COLUMN alert_deliveries.not_before IS 'The end of the quiet hours, or at once.';
COMMENT ON COLUMN alert_deliveries.tries IS 'Counted before each try, so that a process that dies has counted, too.';
COMMENT ON COLUMN alert_deliveries.withdrawn_at IS 'It was not sent: it was over before, or its channel is gone.';
COMMENT ON COLUMN alert_deliveries.error IS 'The kind of the last error, without any text from outside.';

CREATE TABLE alert_channels (
    name text PRIMARY KEY,
    failures integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    next_try_at timestamptz,
    error text,
    delivered_at timestamptz
);
COMMENT ON TABLE alert_channels IS 'How each channel of ST_PIPELINE_ALERT_CHANNELS does; its address is not stored.';
COMMENT ON COLUMN alert_channels.failures IS 'In a row: the next try waits longer each time.';

CREATE TABLE alert_silences (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cause text,
    tenant text,
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    because text,
    ends_at timestamptz NOT NULL,
    CONSTRAINT of_something CHECK (cause IS NOT NULL OR tenant IS NOT NULL)
);
COMMENT ON TABLE alert_silences IS 'Of what nobody is to be told until when. What is still wrong then alerts.';

CREATE TABLE alert_ticks (
    is_the_only_row boolean PRIMARY KEY DEFAULT true CHECK (is_the_only_row),
    ticked_at timestamptz,
    digest_on date,
    heartbeat_at timestamptz,
    heartbeat_error text
);
INSERT INTO alert_ticks DEFAULT VALUES;
COMMENT ON TABLE alert_ticks IS 'When problems were last collected, the day of the last digest, the last heartbeat.';
"""

DOWN = """
DROP TABLE alert_ticks;
DROP TABLE alert_silences;
DROP TABLE alert_channels;
DROP TABLE alert_deliveries;
DROP TABLE alert_problems;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
