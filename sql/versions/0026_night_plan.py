"""The plan of the nightly full syncs: which tenant comes when, who has claimed it, and how far it is."""

from alembic import op

revision = "0026"
down_revision = "0025"

UP = """
CREATE TABLE night_plan (
    credential_id bigint PRIMARY KEY REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    night date NOT NULL,
    place integer NOT NULL,
    starts_at timestamptz NOT NULL,
    expected_seconds real NOT NULL,
    claimed_until timestamptz,
    claimed_by uuid,
    not_before timestamptz,
    done text[] NOT NULL DEFAULT '{}',
    failed text[] NOT NULL DEFAULT '{}',
    tries smallint NOT NULL DEFAULT 0,
    took_seconds real NOT NULL DEFAULT 0,
    ended_at timestamptz,
    CONSTRAINT a_claim_has_an_end_and_an_owner CHECK ((claimed_until IS NULL) = (claimed_by IS NULL))
) WITH (fillfactor = 70);
COMMENT ON TABLE night_plan IS 'One row a tenant: its place in the plan of the last night that it was planned for.';
COMMENT ON COLUMN night_plan.night IS
    'The day on which the night ends; an earlier one for a tenant that did not finish.';
COMMENT ON COLUMN night_plan.place IS
    'Its place in the order of the night: what was left over first, then the large ones.';
COMMENT ON COLUMN night_plan.starts_at IS 'When it is expected to start.';
COMMENT ON COLUMN night_plan.claimed_until IS 'Until when nobody else claims it; a run that died leaves it to run out.';
COMMENT ON COLUMN night_plan.not_before IS 'After a failure: when it is tried again.';
COMMENT ON COLUMN night_plan.done IS 'Entities that need not be read again in this night.';
COMMENT ON COLUMN night_plan.failed IS 'Entities that failed in the last try.';
COMMENT ON COLUMN night_plan.took_seconds IS
    'How long it took, over all runs of the night; what the next plan expects.';
"""

DOWN = """
DROP TABLE night_plan;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
