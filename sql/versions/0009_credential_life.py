"""The life of a credential: its end date, why it is disabled, what is left to purge, a trail nobody can rewrite."""

from alembic import op

revision = "0009"
down_revision = "0008"

UP = """
ALTER TABLE servicetitan_credentials
    ADD COLUMN expires_on date,
    ADD COLUMN expiry_warned_at timestamptz,
    ADD COLUMN disabled_reason text;
COMMENT ON COLUMN servicetitan_credentials.expires_on IS 'The last day the keys are good for, where it was stated.';
COMMENT ON COLUMN servicetitan_credentials.expiry_warned_at IS 'The last log line about it: one a day.';

CREATE TABLE purges (
    credential_id bigint PRIMARY KEY,
    tenant text NOT NULL,
    requested_at timestamptz NOT NULL DEFAULT now(),
    rows_deleted bigint NOT NULL DEFAULT 0,
    completed_at timestamptz
);
COMMENT ON TABLE purges IS 'Removed credentials whose rows go, in batches; a killed purge goes on where it was.';
COMMENT ON COLUMN purges.credential_id IS 'No foreign key: the credential is gone. Its id is never given again.';

CREATE INDEX audit_log_tenant ON audit_log (tenant, id);
CREATE INDEX audit_log_action ON audit_log (action, id);
CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege',
        MESSAGE = 'audit_log is append-only: ' || TG_OP || ' is refused';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
COMMENT ON TABLE audit_log IS 'Who did what to a company or credential. Rows are added, never changed or deleted.';
"""

DOWN = """
DROP TRIGGER append_only ON audit_log;
DROP FUNCTION audit_log_is_append_only();
DROP INDEX audit_log_action;
DROP INDEX audit_log_tenant;
DROP TABLE purges;
ALTER TABLE servicetitan_credentials
    DROP COLUMN disabled_reason, DROP COLUMN expiry_warned_at, DROP COLUMN expires_on;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
