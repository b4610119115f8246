"""What the full pass under way writes, so that another task is not taken for done where that one left off."""

from alembic import op

revision = "0012"
down_revision = "0011"

UP = """
ALTER TABLE sync_cursors ADD COLUMN full_spec_version integer, ADD COLUMN full_rewrites boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sync_cursors.full_spec_version IS 'Version of the columns that the full pass under way writes.';
COMMENT ON COLUMN sync_cursors.full_rewrites IS 'Does the full pass under way write unchanged rows, too?';
"""

DOWN = """
ALTER TABLE sync_cursors DROP COLUMN full_spec_version, DROP COLUMN full_rewrites;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
