"""A credential that ServiceTitan refuses: since when, how often, and when it is tried again."""

from alembic import op

revision = "0015"
down_revision = "0014"

UP = """
ALTER TABLE servicetitan_credentials
    ADD COLUMN refused_since timestamptz,
    ADD COLUMN refusals integer NOT NULL DEFAULT 0,
    ADD COLUMN retry_at timestamptz;
COMMENT ON COLUMN servicetitan_credentials.refused_since IS 'Since when every sync is refused. Null: it is not.';
COMMENT ON COLUMN servicetitan_credentials.refusals IS 'Refusals in a row that suspended it: each doubles the pause.';
COMMENT ON COLUMN servicetitan_credentials.retry_at IS 'From when a suspended one is tried again. Null: once it is '
    'tested.';
UPDATE servicetitan_credentials SET retry_at = now() WHERE connection_status = 'error';
"""

DOWN = """
ALTER TABLE servicetitan_credentials DROP COLUMN retry_at, DROP COLUMN refusals, DROP COLUMN refused_since;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
