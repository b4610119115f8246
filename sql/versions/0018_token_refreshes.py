"""Token refreshes are counted, one row a tenant and day, instead of filling the audit trail."""

from alembic import op

revision = "0018"
down_revision = "0017"

# fillfactor: the day's row is updated up to 96 times, and no index holds the count, so that updates stay on their page.
UP = """
CREATE TABLE token_refreshes (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    day date NOT NULL,
    refreshes integer NOT NULL DEFAULT 1,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (credential_id, day)
) WITH (fillfactor = 70);
COMMENT ON TABLE token_refreshes IS 'How many access tokens a tenant got on a day (UTC).';
"""

DOWN = "DROP TABLE token_refreshes;"


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
