"""Reconciliations: what was compared with ServiceTitan, what differed, and the verdict."""

from alembic import op

revision = "0030"
down_revision = "0029"

UP = """
CREATE TABLE reconciliations (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    sync_type text NOT NULL CHECK (sync_type IN ('manual', 'scheduled')),
    asked jsonb NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    claimed_until timestamptz,
    ended_at timestamptz,
    verdict text CHECK (verdict IN ('equal', 'repaired', 'differs', 'incomplete')),
    message text,
    CONSTRAINT what_ended_has_a_verdict CHECK ((ended_at IS NULL) = (verdict IS NULL))
);
CREATE INDEX reconciliations_of_a_tenant ON reconciliations (credential_id, id);
COMMENT ON TABLE reconciliations IS 'One row for each comparison of a tenant''s tables with ServiceTitan.';
COMMENT ON COLUMN reconciliations.asked IS 'What was asked for: entities, from, to, deep, repair.';
COMMENT ON COLUMN reconciliations.claimed_until IS 'Of a scheduled one: until when no other run begins it again.';
COMMENT ON COLUMN reconciliations.message IS 'What kept it from comparing everything.';

CREATE TABLE reconciliation_entities (
    reconciliation_id bigint NOT NULL REFERENCES reconciliations (id) ON DELETE CASCADE,
    entity text NOT NULL,
    compared text NOT NULL CHECK (compared IN ('totals', 'records', 'not comparable')),
    verdict text NOT NULL CHECK (verdict IN ('equal', 'repaired', 'differs', 'incomplete')),
    records_here bigint NOT NULL,
    records_there bigint,
    missing_here bigint NOT NULL,
    gone_there bigint NOT NULL,
    different bigint NOT NULL,
    repaired bigint NOT NULL,
    requests bigint NOT NULL,
    bytes bigint NOT NULL,
    document jsonb NOT NULL,
    PRIMARY KEY (reconciliation_id, entity)
);
CREATE INDEX reconciliation_entities_differing ON reconciliation_entities (reconciliation_id)
    WHERE verdict = 'differs';
COMMENT ON TABLE reconciliation_entities IS 'What a reconciliation found of each entity, or of each of its lists.';
COMMENT ON COLUMN reconciliation_entities.compared IS
    'totals: numbers, and the records of ranges whose numbers differ. records: every record, column by column.';
COMMENT ON COLUMN reconciliation_entities.missing_here IS 'With gone_there and different: at first, before a repair.';
COMMENT ON COLUMN reconciliation_entities.document IS
    'The whole finding: ids and the names of fields that differ, without values; records and money by month.';
"""

DOWN = """
DROP TABLE reconciliation_entities;
DROP TABLE reconciliations;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
