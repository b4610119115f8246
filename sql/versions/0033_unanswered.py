"""A poll's one row speaks for the entities that answered; those that are off or keep failing are named in it."""

from alembic import op

revision = "0033"
down_revision = "0032"

_VIEW = """
CREATE OR REPLACE VIEW completeness WITH (security_invoker = true) AS
SELECT c.credential_id, c.entity,
    CASE WHEN o.stream IS NULL
        THEN moved_by_polls(c.complete_through, c.continue_from, {polled_of_c}, {hourly_of_c})
        WHEN c.complete_through IS NOT NULL THEN greatest(c.complete_through, (
            SELECT CASE WHEN count(s.complete_through) = cardinality(o.sources)
                THEN min(moved_by_polls(s.complete_through, s.continue_from, {polled_of_s}, {hourly_of_s})) END
            FROM sync_cursors s WHERE s.credential_id = c.credential_id AND s.entity = ANY(o.sources)
            AND NOT EXISTS (
                SELECT FROM stream_pending w WHERE w.credential_id = c.credential_id AND w.stream = c.entity)
        )) END AS complete_through,
    CASE WHEN o.stream IS NULL
        THEN moved_by_polls(c.last_polled_at, c.continue_from, {polled_of_c}, {hourly_of_c})
        ELSE greatest(c.last_polled_at, p.polled_at) END AS last_polled_at
FROM sync_cursors c
LEFT JOIN tenant_polls p ON p.credential_id = c.credential_id
LEFT JOIN stream_owners o ON o.credential_id = c.credential_id AND o.stream = c.entity;
"""


def _view(moment: str) -> str:
    places = {f"{column}_of_{of}": (column, of) for column in ("polled", "hourly") for of in "cs"}
    names = {"polled": "polled_at", "hourly": "hourly_at"}
    return _VIEW.format(**{place: moment.format(names[column], of) for place, (column, of) in places.items()})


UP = f"""
ALTER TABLE tenant_polls ADD COLUMN unanswered text[] NOT NULL DEFAULT '{{}}';
COMMENT ON COLUMN tenant_polls.polled_at IS 'When the last poll began in which every feed answered but the unanswered.';
COMMENT ON COLUMN tenant_polls.hourly_at IS 'The same of the lists without a feed.';
COMMENT ON COLUMN tenant_polls.unanswered IS 'The entities and lists for which polled_at and hourly_at do not speak: '
    'they are off, or rest after failures.';
{_view("CASE WHEN {1}.entity <> ALL(p.unanswered) THEN p.{0} END")}
"""

DOWN = f"""
{_view("p.{0}")}
ALTER TABLE tenant_polls DROP COLUMN unanswered;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
