"""The streams that downstream reads, the keys that wait to be built, and the moment up to which data is complete."""

from alembic import op

revision = "0004"
down_revision = "0003"

UP = """
CREATE TABLE stream_pending (
    credential_id bigint NOT NULL REFERENCES servicetitan_credentials (id) ON DELETE CASCADE,
    stream text NOT NULL,
    key bigint NOT NULL,
    PRIMARY KEY (credential_id, stream, key)
);
COMMENT ON TABLE stream_pending IS 'Stream records to build again: a chunk puts keys here in its own transaction, the '
    'stream build takes them out in the one that writes the records. No time is compared, so none can slip below one.';

CREATE TABLE members_stream (
    tenant text NOT NULL,
    software text NOT NULL,
    customer_id text NOT NULL,
    trade text,
    hub_plus_import_id text NOT NULL,
    customer_name text,
    customer_first_name text,
    customer_last_name text,
    customer_address text,
    customer_city text,
    customer_state text,
    customer_zip text,
    customer_phone_number_primary text,
    customer_email_primary text,
    active_member boolean,
    membership_type text,
    membership_start date,
    membership_end date,
    still_exists boolean NOT NULL DEFAULT true,
    merged_to_customer_id text,
    version integer NOT NULL DEFAULT 1,
    credential_id bigint,
    spec_version integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, software, customer_id)
);
CREATE INDEX members_stream_credential ON members_stream (credential_id, tenant);
COMMENT ON TABLE members_stream IS 'One record a customer, the same whether it came from the API or from a file.';

CREATE TABLE invoices_stream (
    tenant text NOT NULL,
    software text NOT NULL,
    invoice_number text NOT NULL,
    trade text,
    hub_plus_import_id text NOT NULL,
    reference_number text,
    customer_id text,
    customer_name text,
    customer_first_name text,
    customer_last_name text,
    job_number text,
    job_type text,
    total numeric,
    subtotal numeric,
    tax numeric,
    balance numeric,
    invoice_date date,
    due_date date,
    summary text,
    customer_address text,
    customer_city text,
    customer_state text,
    customer_zip text,
    business_unit text,
    status text,
    active boolean,
    still_exists boolean NOT NULL DEFAULT true,
    version integer NOT NULL DEFAULT 1,
    credential_id bigint,
    spec_version integer NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, software, invoice_number)
);
CREATE INDEX invoices_stream_credential ON invoices_stream (credential_id, tenant);
COMMENT ON TABLE invoices_stream IS 'One record an invoice, the same whether it came from the API or from a file.';

CREATE INDEX st_customers_merged ON st_customers (credential_id, merged_to_id) WHERE merged_to_id IS NOT NULL;

ALTER TABLE sync_cursors ADD COLUMN complete_through timestamptz, DROP COLUMN full_stage, DROP COLUMN full_page;
COMMENT ON COLUMN sync_cursors.complete_through IS 'When the last read that reached its end began: all older is here.';

CREATE VIEW last_complete_through AS
SELECT t.partition_key AS tenant, t.company, t.environment, c.entity,
       c.complete_through AS last_complete_through, c.last_full_at, c.last_polled_at, c.last_failed_at,
       (SELECT count(*) FROM sync_rejects r WHERE r.credential_id = c.credential_id AND r.entity = c.entity
        AND r.dismissed_at IS NULL) AS open_rejects,
       (SELECT count(*) FROM stream_pending p WHERE p.credential_id = c.credential_id AND p.stream = c.entity)
           AS pending
FROM sync_cursors c JOIN tenants t ON t.credential_id = c.credential_id;
COMMENT ON VIEW last_complete_through IS 'Up to when each tenant''s entity is known complete; consumers wait for it.';
"""

DOWN = """
DROP VIEW last_complete_through;
ALTER TABLE sync_cursors DROP COLUMN complete_through, ADD COLUMN full_page integer NOT NULL DEFAULT 0,
    ADD COLUMN full_stage text CHECK (full_stage IN ('records', 'presence'));
DROP INDEX st_customers_merged;
DROP TABLE invoices_stream;
DROP TABLE members_stream;
DROP TABLE stream_pending;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
