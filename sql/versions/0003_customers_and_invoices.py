"""Customers, contacts, locations, memberships and their types, invoices."""

from alembic import op

revision = "0003"
down_revision = "0002"

UP = """
CREATE TABLE st_membership_types (
    credential_id bigint NOT NULL,
    name text,
    display_name text,
    active boolean,
    discount_mode text,
    location_target text,
    revenue_recognition_mode text,
    auto_calculate_invoice_templates boolean,
    use_membership_pricing_table boolean,
    show_membership_savings boolean,
    st_id bigint NOT NULL,
    created_on timestamptz,
    created_by_id bigint,
    modified_on timestamptz,
    import_id text,
    billing_template_id bigint,
    discount numeric,
    duration_billing jsonb,
    discounts jsonb,
    recurring_services jsonb,
    tag_type_ids jsonb,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_memberships (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    created_on timestamptz,
    created_by_id bigint,
    modified_on timestamptz,
    follow_up_on timestamptz,
    cancellation_date timestamptz,
    starts_on timestamptz,
    next_scheduled_bill_date timestamptz,
    ends_on timestamptz,
    billing_frequency text,
    renewal_billing_frequency text,
    status text,
    follow_up_status text,
    active boolean,
    initial_deferred_revenue numeric,
    duration bigint,
    renewal_duration bigint,
    business_unit_id bigint,
    customer_id bigint,
    membership_type_id bigint,
    activated_by_id bigint,
    activated_from_id bigint,
    billing_template_id bigint,
    cancellation_balance_invoice_id bigint,
    cancellation_invoice_id bigint,
    follow_up_custom_status_id bigint,
    location_id bigint,
    payment_method_id bigint,
    payment_type_id bigint,
    recurring_location_id bigint,
    renewal_membership_task_id bigint,
    renewed_by_id bigint,
    sold_by_id bigint,
    customer_po text,
    import_id text,
    memo text,
    custom_fields jsonb,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_customers (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    active boolean,
    name text,
    type text,
    address_street text,
    address_unit text,
    address_city text,
    address_state text,
    address_zip text,
    address_country text,
    address_latitude double precision,
    address_longitude double precision,
    custom_fields jsonb,
    balance numeric,
    tax_exempt boolean,
    tag_type_ids jsonb,
    do_not_mail boolean,
    do_not_service boolean,
    national_account boolean,
    created_on timestamptz,
    created_by_id bigint,
    modified_on timestamptz,
    merged_to_id bigint,
    payment_term_id bigint,
    credit_limit numeric,
    credit_limit_balance numeric,
    external_data jsonb,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_customer_contacts (
    credential_id bigint NOT NULL,
    modified_on timestamptz,
    phone_settings_phone_number text,
    phone_settings_do_not_text boolean,
    created_on timestamptz,
    preferences_job_reminders_enabled boolean,
    preferences_marketing_updates_enabled boolean,
    preferences_invoice_statement_notification boolean,
    preferences_invoice_notification boolean,
    preferences_statement_notification boolean,
    st_id bigint NOT NULL,
    type text,
    value text,
    memo text,
    customer_id bigint,
    active boolean,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_locations (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    customer_id bigint,
    active boolean,
    name text,
    address_street text,
    address_unit text,
    address_city text,
    address_state text,
    address_zip text,
    address_country text,
    address_latitude double precision,
    address_longitude double precision,
    custom_fields jsonb,
    created_on timestamptz,
    created_by_id bigint,
    modified_on timestamptz,
    merged_to_id bigint,
    zone_id bigint,
    tax_exempt boolean,
    tag_type_ids jsonb,
    external_data jsonb,
    tax_zone_id bigint,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_invoices (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    sync_status text,
    budget_code_id bigint,
    reference_number text,
    invoice_date date,
    due_date date,
    subtotal numeric,
    sales_tax numeric,
    sales_tax_code_id bigint,
    sales_tax_code_name text,
    sales_tax_code_tax_rate numeric,
    tax_zone_id bigint,
    total numeric,
    balance numeric,
    invoice_type_id bigint,
    invoice_type_name text,
    customer_id bigint,
    customer_name text,
    customer_address_street text,
    customer_address_unit text,
    customer_address_city text,
    customer_address_state text,
    customer_address_zip text,
    customer_address_country text,
    location_id bigint,
    location_name text,
    location_address_street text,
    location_address_unit text,
    location_address_city text,
    location_address_state text,
    location_address_zip text,
    location_address_country text,
    business_unit_id bigint,
    business_unit_name text,
    term_name text,
    created_by text,
    batch_id bigint,
    batch_number text,
    batch_name text,
    deposited_on timestamptz,
    created_on timestamptz,
    modified_on timestamptz,
    adjustment_to_id bigint,
    job_id bigint,
    job_number text,
    job_type text,
    project_id bigint,
    royalty_status text,
    royalty_date timestamptz,
    royalty_sent_on timestamptz,
    royalty_memo text,
    employee_info_id bigint,
    employee_info_name text,
    employee_info_modified_on timestamptz,
    commission_eligibility_date text,
    sent_status text,
    review_status text,
    assigned_to_id bigint,
    assigned_to_name text,
    summary text,
    items jsonb,
    custom_fields jsonb,
    active boolean,
    discount_total numeric,
    import_id text,
    export_id text,
    material_sku_id bigint,
    membership_id bigint,
    paid_on timestamptz,
    invoice_configuration text,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE INDEX st_locations_customer ON st_locations (credential_id, customer_id);
CREATE INDEX st_customer_contacts_customer ON st_customer_contacts (credential_id, customer_id);
CREATE INDEX st_memberships_customer ON st_memberships (credential_id, customer_id);
CREATE INDEX st_invoices_customer ON st_invoices (credential_id, customer_id);
"""

DOWN = """
DROP TABLE st_invoices;
DROP TABLE st_locations;
DROP TABLE st_customer_contacts;
DROP TABLE st_customers;
DROP TABLE st_memberships;
DROP TABLE st_membership_types;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
