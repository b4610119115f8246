"""When each tenant is polled next, and which worker has claimed it."""

from alembic import op

revision = "0019"
down_revision = "0018"

UP = """
CREATE TABLE tenant_polls (
    credential_id bigint PRIMARY KEY REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    due_at timestamptz NOT NULL,
    claimed_until timestamptz,
    claimed_by uuid,
    polled_at timestamptz,
    overtimes smallint NOT NULL DEFAULT 0,
    tokens_saved_at timestamptz,
    hourly_at timestamptz,
    CONSTRAINT a_claim_has_an_end_and_an_owner CHECK ((claimed_until IS NULL) = (claimed_by IS NULL))
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 200,
        autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE tenant_polls IS 'When each tenant is polled next. Every poll updates its row twice and nothing else: '
    'no index may stand on what a poll updates.';
COMMENT ON COLUMN tenant_polls.due_at IS 'From when it may be claimed. Only a poll that has ended moves it.';
COMMENT ON COLUMN tenant_polls.claimed_until IS 'Until when nobody else claims it; a worker that died leaves it to run '
    'out.';
COMMENT ON COLUMN tenant_polls.claimed_by IS 'The run or command that polls it.';
COMMENT ON COLUMN tenant_polls.polled_at IS 'When the last poll began in which every feed answered.';
COMMENT ON COLUMN tenant_polls.overtimes IS 'Polls in a row that used up their time.';
COMMENT ON COLUMN tenant_polls.tokens_saved_at IS 'When the feed tokens of empty answers were last saved.';
COMMENT ON COLUMN tenant_polls.hourly_at IS 'When the lists without a feed were last looked at.';
INSERT INTO tenant_polls (credential_id, due_at)
SELECT id, now() FROM servicetitan_credentials WHERE last_sync_at IS NOT NULL;
"""

DOWN = """
DROP TABLE tenant_polls;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
