"""The syncs that failed, by time: few among many rows."""

from st_pipeline.postgres.index_builds import build_index, drop_index

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Apply."""
    build_index("sync_logs_failed", "ON servicetitan_sync_logs (started_at) WHERE status = 'failed'")


def downgrade() -> None:
    """Undo."""
    drop_index("sync_logs_failed")
