"""What records show that ServiceTitan's documents do not."""

from alembic import op

revision = "0007"
down_revision = "0006"

UP = """
CREATE TABLE field_drift (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    entity text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('unknown key', 'null', 'unknown value')),
    field text NOT NULL,
    value text NOT NULL DEFAULT '',
    records bigint NOT NULL,
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (credential_id, entity, kind, field, value)
);
COMMENT ON TABLE field_drift IS 'Per tenant: fields that differ from ServiceTitan''s documents. Safe to delete from.';
COMMENT ON COLUMN field_drift.field IS 'The path in the record.';
COMMENT ON COLUMN field_drift.value IS 'The unknown value of an enum, cut at 100 characters; empty otherwise.';
COMMENT ON COLUMN field_drift.records IS 'Written records that showed it; of unknown keys, of those looked into.';

CREATE VIEW drift AS
SELECT entity, kind, field, value, count(DISTINCT credential_id) AS tenants, sum(records) AS records,
       min(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at
FROM field_drift GROUP BY entity, kind, field, value;
COMMENT ON VIEW drift IS 'All tenants together: one row a difference.';
"""

DOWN = """
DROP VIEW drift;
DROP TABLE field_drift;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
