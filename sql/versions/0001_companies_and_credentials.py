"""Companies, their ServiceTitan credentials, the audit trail."""

from alembic import op

revision = "0001"
down_revision = None

UP = """
CREATE TABLE companies (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL UNIQUE CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    name text NOT NULL CHECK (name <> ''),
    intacct_id text UNIQUE,
    trade text,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE companies IS 'Customers of the platform. A slug never changes.';
COMMENT ON COLUMN companies.intacct_id IS 'The company''s id downstream: column tenant of the streams.';

CREATE TABLE servicetitan_credentials (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    company_id bigint NOT NULL REFERENCES companies (id),
    environment text NOT NULL CHECK (environment IN ('production', 'integration')),
    tenant_id bigint NOT NULL CHECK (tenant_id > 0),
    client_id bytea NOT NULL,
    client_secret bytea NOT NULL,
    app_key bytea,
    access_token bytea,
    refresh_token bytea CHECK (refresh_token IS NULL),
    token_expires_at timestamptz,
    connection_status text NOT NULL DEFAULT 'pending' CHECK (connection_status IN ('pending', 'connected', 'error')),
    connection_message text,
    last_tested_at timestamptz,
    last_sync_at timestamptz,
    enabled boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT one_credential_per_environment UNIQUE (company_id, environment),
    CONSTRAINT one_credential_per_servicetitan_tenant UNIQUE (environment, tenant_id)
);
COMMENT ON TABLE servicetitan_credentials IS 'One company in one environment: a tenant, a partition.';
COMMENT ON COLUMN servicetitan_credentials.tenant_id IS 'The number in ServiceTitan''s API paths.';
COMMENT ON COLUMN servicetitan_credentials.client_id IS 'Encrypted, as are client_secret, app_key and access_token.';
COMMENT ON COLUMN servicetitan_credentials.app_key IS 'Encrypted. Null: the app key of the settings is used.';
COMMENT ON COLUMN servicetitan_credentials.refresh_token IS 'Always null: ServiceTitan has no refresh tokens.';

CREATE VIEW tenants AS
SELECT c.id AS credential_id,
       co.slug || CASE c.environment WHEN 'production' THEN '' ELSE '@' || c.environment END AS partition_key,
       co.slug AS company, co.name AS company_name, co.intacct_id, co.trade, c.environment, c.tenant_id,
       c.connection_status, c.connection_message, c.last_tested_at, c.last_sync_at,
       co.enabled AND c.enabled AS enabled
FROM servicetitan_credentials c JOIN companies co ON co.id = c.company_id;

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    actor text NOT NULL,
    origin text NOT NULL,
    action text NOT NULL,
    tenant text,
    credential_id bigint,
    result text NOT NULL CHECK (result IN ('done', 'refused', 'failed')),
    details jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_credential ON audit_log (credential_id, id);
COMMENT ON COLUMN audit_log.credential_id IS 'No foreign key: the trail outlives the credential.';
"""

DOWN = """
DROP TABLE audit_log;
DROP VIEW tenants;
DROP TABLE servicetitan_credentials;
DROP TABLE companies;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
