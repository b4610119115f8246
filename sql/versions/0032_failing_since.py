"""Since when an entity fails, and why: without the sync log, whose rows are deleted one day."""

from alembic import op

revision = "0032"
down_revision = "0031"

UP = """
ALTER TABLE sync_cursors ADD COLUMN failing_since timestamptz, ADD COLUMN failure text, ADD COLUMN failure_kind text;
UPDATE sync_cursors SET failing_since = last_failed_at WHERE last_failed_at IS NOT NULL;
COMMENT ON COLUMN sync_cursors.failing_since IS 'When the first of the failures came that no success has followed.';
COMMENT ON COLUMN sync_cursors.failure IS 'The last failure, in words without data; empty when the entity works.';
COMMENT ON COLUMN sync_cursors.failure_kind IS 'The class of the error: docs/operating.md says what to do about each.';
"""

DOWN = """
ALTER TABLE sync_cursors DROP COLUMN failing_since, DROP COLUMN failure, DROP COLUMN failure_kind;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
