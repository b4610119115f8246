"""The entities that failed, by time: few among many rows."""

from st_pipeline.postgres.index_builds import build_index, drop_index

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Apply."""
    build_index("sync_log_entities_failed", "ON sync_log_entities (started_at) WHERE status = 'failed'")


def downgrade() -> None:
    """Undo."""
    drop_index("sync_log_entities_failed")
