"""Which deployment this database is: one id, by which Dagster's database knows whom it belongs to."""

from alembic import op

revision = "0013"
down_revision = "0012"

UP = """
CREATE TABLE deployment (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    is_the_only_row boolean NOT NULL DEFAULT true UNIQUE CHECK (is_the_only_row)
);
COMMENT ON TABLE deployment IS 'This deployment''s id. Dagster''s own database holds the same, so that no two '
    'deployments share one.';
INSERT INTO deployment DEFAULT VALUES;
"""

DOWN = "DROP TABLE deployment;"


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
