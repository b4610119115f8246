"""What the polls of each half of the tenants cost in a day, so that two intervals can be compared."""

from alembic import op

revision = "0025"
down_revision = "0024"

UP = """
CREATE TABLE poll_figures (
    day date NOT NULL,
    half smallint NOT NULL CHECK (half IN (1, 2)),
    tenants integer NOT NULL,
    polls bigint NOT NULL,
    with_news bigint NOT NULL,
    requests bigint NOT NULL,
    cpu_seconds double precision NOT NULL,
    gaps bigint NOT NULL,
    gap_seconds double precision NOT NULL,
    longest_gap_seconds double precision NOT NULL,
    PRIMARY KEY (day, half)
);
COMMENT ON TABLE poll_figures IS 'What the polls of each half of the tenants cost in a day (UTC). A worker adds its '
    'figures when it ends.';
COMMENT ON COLUMN poll_figures.tenants IS 'The most that one worker polled.';
COMMENT ON COLUMN poll_figures.cpu_seconds IS 'Of the threads that polled, without Postgres and Dagster.';
COMMENT ON COLUMN poll_figures.gap_seconds IS 'The sum of all gaps: each from one poll in which every feed answered to '
    'the next. So old the tables were at most.';
"""

DOWN = """
DROP TABLE poll_figures;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
