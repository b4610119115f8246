"""Which running processes hold which encryption keys, so that a rotation breaks none of them."""

from alembic import op

revision = "0017"
down_revision = "0016"

UP = """
CREATE TABLE keyring_holders (
    holder uuid PRIMARY KEY,
    name text NOT NULL,
    key_ids bigint[] NOT NULL,
    environment_file text NOT NULL,
    seen_at timestamptz NOT NULL
);
COMMENT ON TABLE keyring_holders IS 'Processes that open secrets, and the ids of the keys they hold; never a key.';
COMMENT ON COLUMN keyring_holders.holder IS 'A run, which lives while session_lives(holder); or a process that Dagster '
    'keeps, which notes itself again every half minute.';
COMMENT ON COLUMN keyring_holders.environment_file IS 'Machine and path of the .env from which it reads keys again.';
"""

DOWN = """
DROP TABLE keyring_holders;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
