"""Checks: which verdict Dagster shows."""

from alembic import op

revision = "0031"
down_revision = "0030"

UP = """
ALTER TABLE check_verdicts ADD COLUMN shown text;
COMMENT ON COLUMN check_verdicts.shown IS 'The status and severity that Dagster was told last; null: none yet.';
"""

DOWN = "ALTER TABLE check_verdicts DROP COLUMN shown;"


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
