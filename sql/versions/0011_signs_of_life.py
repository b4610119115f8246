"""A lease's sign of life is an advisory lock of its holder's session, which every database role can see."""

from alembic import op

revision = "0011"
down_revision = "0010"

# pg_stat_activity hides backend_start from other roles, so one role took another's leases for dead ones.
# Whoever syncs while this runs loses its lease and stops without writing.
UP = """
CREATE FUNCTION session_key(holder uuid) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT
RETURN ('x' || left(replace(holder::text, '-', ''), 16))::bit(64)::bigint;
COMMENT ON FUNCTION session_key IS 'The advisory lock that a session holds for as long as it works under this id.';

CREATE FUNCTION session_lives(holder uuid) RETURNS boolean LANGUAGE sql VOLATILE STRICT
RETURN EXISTS (
    SELECT FROM pg_locks k
    WHERE k.locktype = 'advisory' AND k.objsubid = 1 AND k.granted
    AND k.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (k.classid::bigint << 32 | k.objid::bigint) = session_key(holder));
COMMENT ON FUNCTION session_lives IS 'Is a session connected that works under this id? The same answer for every role.';

DELETE FROM tenant_leases;
ALTER TABLE tenant_leases DROP COLUMN backend_pid, DROP COLUMN backend_start;
COMMENT ON COLUMN tenant_leases.holder IS 'Made up anew each time the lease is taken. session_lives(holder) tells '
    'whether the holder''s connection is still there; when it is gone, so is the holder.';
"""

DOWN = """
DELETE FROM tenant_leases;
ALTER TABLE tenant_leases
    ADD COLUMN backend_pid integer NOT NULL,
    ADD COLUMN backend_start timestamptz NOT NULL;
COMMENT ON COLUMN tenant_leases.holder IS NULL;
DROP FUNCTION session_lives;
DROP FUNCTION session_key;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
