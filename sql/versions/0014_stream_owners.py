"""Under whose name and trade a tenant's stream records stand, so that a poll need not read them to know."""

from alembic import op

revision = "0014"
down_revision = "0013"

UP = """
CREATE TABLE stream_owners (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    stream text NOT NULL,
    tenant text NOT NULL,
    trade text,
    PRIMARY KEY (credential_id, stream)
);
COMMENT ON TABLE stream_owners IS 'Under which company''s Intacct id and trade a credential''s stream records stand. '
    'Without a row, or where the company says otherwise, the next sync looks at every record.';
"""

DOWN = """
DROP TABLE stream_owners;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
