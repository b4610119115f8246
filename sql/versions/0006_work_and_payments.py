"""Location contacts, jobs, appointments, estimates, payments, equipment; custom fields as rows."""

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
CREATE TABLE st_location_contacts (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    type text,
    value text,
    memo text,
    phone_settings_phone_number text,
    phone_settings_do_not_text boolean,
    modified_on timestamptz,
    created_on timestamptz,
    preferences_job_reminders_enabled boolean,
    preferences_marketing_updates_enabled boolean,
    preferences_invoice_statement_notification boolean,
    preferences_invoice_notification boolean,
    preferences_statement_notification boolean,
    location_id bigint,
    active boolean,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_location_contacts_location ON st_location_contacts (credential_id, location_id);

CREATE TABLE st_jobs (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    job_number text,
    project_id bigint,
    customer_id bigint,
    location_id bigint,
    job_status text,
    completed_on timestamptz,
    business_unit_id bigint,
    job_type_id bigint,
    priority text,
    campaign_id bigint,
    appointment_count bigint,
    first_appointment_id bigint,
    last_appointment_id bigint,
    recall_for_id bigint,
    warranty_id bigint,
    job_generated_lead_source_job_id bigint,
    job_generated_lead_source_employee_id bigint,
    no_charge boolean,
    notifications_enabled boolean,
    created_on timestamptz,
    created_by_id bigint,
    modified_on timestamptz,
    tag_type_ids jsonb,
    lead_call_id bigint,
    partner_lead_call_id bigint,
    booking_id bigint,
    sold_by_id bigint,
    customer_po text,
    invoice_id bigint,
    membership_id bigint,
    total numeric,
    created_from_estimate_id bigint,
    estimate_ids jsonb,
    equipment_ids jsonb,
    is_auto_dispatched boolean,
    summary text,
    custom_fields jsonb,
    external_data jsonb,
    summary_of_work text,
    active boolean,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_jobs_customer ON st_jobs (credential_id, customer_id);
CREATE INDEX st_jobs_location ON st_jobs (credential_id, location_id);
CREATE INDEX st_jobs_business_unit ON st_jobs (credential_id, business_unit_id);

CREATE TABLE st_appointments (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    job_id bigint,
    appointment_number text,
    starts_at timestamptz,
    ends_at timestamptz,
    arrival_window_start timestamptz,
    arrival_window_end timestamptz,
    status text,
    special_instructions text,
    created_on timestamptz,
    modified_on timestamptz,
    customer_id bigint,
    unused boolean,
    created_by_id bigint,
    is_confirmed boolean,
    active boolean,
    appointment_summaries jsonb,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_appointments_customer ON st_appointments (credential_id, customer_id);
CREATE INDEX st_appointments_job ON st_appointments (credential_id, job_id);

CREATE TABLE st_estimates (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    job_id bigint,
    project_id bigint,
    location_id bigint,
    customer_id bigint,
    name text,
    job_number text,
    status_value bigint,
    status_name text,
    review_status text,
    summary text,
    created_on timestamptz,
    modified_on timestamptz,
    sold_on timestamptz,
    sold_by bigint,
    active boolean,
    items jsonb,
    external_links jsonb,
    subtotal numeric,
    tax numeric,
    business_unit_id bigint,
    business_unit_name text,
    is_recommended boolean,
    budget_code_id bigint,
    is_change_order boolean,
    proposal_tag_name text,
    deposit_amount numeric,
    deposit_percent numeric,
    require_deposit_on_signature boolean,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_estimates_customer ON st_estimates (credential_id, customer_id);
CREATE INDEX st_estimates_location ON st_estimates (credential_id, location_id);
CREATE INDEX st_estimates_job ON st_estimates (credential_id, job_id);
CREATE INDEX st_estimates_business_unit ON st_estimates (credential_id, business_unit_id);

CREATE TABLE st_payments (
    credential_id bigint NOT NULL,
    active boolean,
    applied_to jsonb,
    auth_code text,
    batch_id bigint,
    batch_number text,
    batch_name text,
    business_unit_id bigint,
    business_unit_name text,
    check_number text,
    created_by text,
    created_on timestamptz,
    customer_id bigint,
    customer_name text,
    custom_fields jsonb,
    date timestamptz,
    deposit_id bigint,
    deposit_name text,
    general_ledger_account_id bigint,
    general_ledger_account_name text,
    general_ledger_account_number text,
    general_ledger_account_type text,
    general_ledger_account_detail_type text,
    st_id bigint NOT NULL,
    memo text,
    modified_on timestamptz,
    reference_number text,
    refunded_payment_id bigint,
    sync_status text,
    total numeric,
    type text,
    type_id text,
    unapplied_amount numeric,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_payments_customer ON st_payments (credential_id, customer_id);
CREATE INDEX st_payments_business_unit ON st_payments (credential_id, business_unit_id);

CREATE TABLE st_equipment (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    active boolean,
    equipment_id bigint,
    location_id bigint,
    customer_id bigint,
    invoice_item_id bigint,
    name text,
    type_id bigint,
    type_name text,
    installed_on timestamptz,
    created_on timestamptz,
    modified_on timestamptz,
    serial_number text,
    barcode_id text,
    memo text,
    manufacturer text,
    model text,
    cost numeric,
    status text,
    manufacturer_warranty_start timestamptz,
    manufacturer_warranty_end timestamptz,
    service_provider_warranty_start timestamptz,
    service_provider_warranty_end timestamptz,
    tags jsonb,
    actual_replacement_date date,
    manufactured_on date,
    predicted_replacement_months bigint,
    predicted_replacement_date date,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_equipment_customer ON st_equipment (credential_id, customer_id);
CREATE INDEX st_equipment_location ON st_equipment (credential_id, location_id);

-- What people join by, in the tables that were there before.
CREATE INDEX st_memberships_location ON st_memberships (credential_id, location_id);
CREATE INDEX st_memberships_business_unit ON st_memberships (credential_id, business_unit_id);
CREATE INDEX st_invoices_location ON st_invoices (credential_id, location_id);
CREATE INDEX st_invoices_job ON st_invoices (credential_id, job_id);
CREATE INDEX st_invoices_business_unit ON st_invoices (credential_id, business_unit_id);

CREATE VIEW st_custom_field_values AS
SELECT credential_id, entity, st_id,
       CASE WHEN jsonb_typeof(field -> 'typeId') = 'number' THEN (field ->> 'typeId')::numeric::bigint END AS type_id,
       field ->> 'name' AS name, field ->> 'value' AS value
FROM (
    SELECT t.credential_id, 'customers' AS entity, t.st_id, f.field
    FROM st_customers t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT t.credential_id, 'locations' AS entity, t.st_id, f.field
    FROM st_locations t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT t.credential_id, 'memberships' AS entity, t.st_id, f.field
    FROM st_memberships t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT t.credential_id, 'jobs' AS entity, t.st_id, f.field
    FROM st_jobs t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT t.credential_id, 'invoices' AS entity, t.st_id, f.field
    FROM st_invoices t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT t.credential_id, 'payments' AS entity, t.st_id, f.field
    FROM st_payments t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
    UNION ALL
    SELECT t.credential_id, 'technicians' AS entity, t.st_id, f.field
    FROM st_technicians t CROSS JOIN LATERAL jsonb_path_query(t.custom_fields, '$[*]') AS f (field)
    WHERE t.deleted_at IS NULL
) AS fields;
COMMENT ON VIEW st_custom_field_values IS 'Custom fields of records that still exist, a row for each value.';
"""

DOWN = """
DROP VIEW st_custom_field_values;
DROP INDEX st_memberships_location;
DROP INDEX st_memberships_business_unit;
DROP INDEX st_invoices_location;
DROP INDEX st_invoices_job;
DROP INDEX st_invoices_business_unit;
DROP TABLE st_equipment;
DROP TABLE st_payments;
DROP TABLE st_estimates;
DROP TABLE st_appointments;
DROP TABLE st_jobs;
DROP TABLE st_location_contacts;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
