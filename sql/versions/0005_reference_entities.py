"""Tag types, call reasons, campaigns, custom fields, business units, technicians, job types."""

from alembic import op

revision = "0005"
down_revision = "0004"

UP = """
CREATE TABLE st_tag_types (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    name text,
    color text,
    code text,
    importance text,
    is_conversion_opportunity boolean,
    allow_to_use_on_timesheet_activity boolean,
    is_visible_on_dispatch_board boolean,
    active boolean,
    created_on timestamptz,
    modified_on timestamptz,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_call_reasons (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    name text,
    is_lead boolean,
    active boolean,
    created_on timestamptz,
    modified_on timestamptz,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_campaigns (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    name text,
    modified_on timestamptz,
    created_on timestamptz,
    active boolean,
    is_default_campaign boolean,
    category_id bigint,
    category_name text,
    category_active boolean,
    source text,
    other_source text,
    business_unit text,
    medium text,
    other_medium text,
    campaign_phone_numbers jsonb,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

-- A partition for each owner's list, which is written on its own: there the id alone is the key.
CREATE TABLE st_custom_fields (
    credential_id bigint NOT NULL,
    owner text NOT NULL,
    st_id bigint NOT NULL,
    name text,
    data_type text,
    data_type_options jsonb,
    created_on timestamptz,
    modified_on timestamptz,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, owner, st_id)
) PARTITION BY LIST (owner);
CREATE TABLE st_custom_fields_jobs PARTITION OF st_custom_fields
    (owner DEFAULT 'jobs', UNIQUE (credential_id, st_id)) FOR VALUES IN ('jobs');
CREATE TABLE st_custom_fields_projects PARTITION OF st_custom_fields
    (owner DEFAULT 'projects', UNIQUE (credential_id, st_id)) FOR VALUES IN ('projects');
CREATE TABLE st_custom_fields_customers PARTITION OF st_custom_fields
    (owner DEFAULT 'customers', UNIQUE (credential_id, st_id)) FOR VALUES IN ('customers');
CREATE TABLE st_custom_fields_locations PARTITION OF st_custom_fields
    (owner DEFAULT 'locations', UNIQUE (credential_id, st_id)) FOR VALUES IN ('locations');
CREATE TABLE st_custom_fields_invoices PARTITION OF st_custom_fields
    (owner DEFAULT 'invoices', UNIQUE (credential_id, st_id)) FOR VALUES IN ('invoices');
CREATE TABLE st_custom_fields_payments PARTITION OF st_custom_fields
    (owner DEFAULT 'payments', UNIQUE (credential_id, st_id)) FOR VALUES IN ('payments');
CREATE TABLE st_custom_fields_memberships PARTITION OF st_custom_fields
    (owner DEFAULT 'memberships', UNIQUE (credential_id, st_id)) FOR VALUES IN ('memberships');
CREATE TABLE st_custom_fields_equipment PARTITION OF st_custom_fields
    (owner DEFAULT 'equipment', UNIQUE (credential_id, st_id)) FOR VALUES IN ('equipment');
COMMENT ON COLUMN st_custom_fields.owner IS 'Whose field it is: the list it stands in.';

CREATE TABLE st_business_units (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    active boolean,
    name text,
    official_name text,
    email text,
    currency text,
    phone_number text,
    invoice_header text,
    invoice_message text,
    default_tax_rate numeric,
    authorization_paragraph text,
    acknowledgement_paragraph text,
    address_street text,
    address_unit text,
    address_city text,
    address_state text,
    address_zip text,
    address_country text,
    address_latitude double precision,
    address_longitude double precision,
    address_is_manual_coordinates boolean,
    address_is_military boolean,
    material_sku text,
    quickbooks_class text,
    account_code text,
    franchise_id text,
    concept_code text,
    corporate_contract_number text,
    trade_id bigint,
    trade_name text,
    division_id bigint,
    division_name text,
    tag_type_ids jsonb,
    tenant_id bigint,
    tenant_name text,
    tenant_account_code text,
    tenant_franchise_id text,
    tenant_concept_code text,
    tenant_modified_on timestamptz,
    created_on timestamptz,
    modified_on timestamptz,
    external_data jsonb,
    certified_sentricon_specialist_code text,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);

CREATE TABLE st_technicians (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    user_id bigint,
    name text,
    role_ids jsonb,
    business_unit_id bigint,
    main_zone_id bigint,
    zone_ids jsonb,
    created_on timestamptz,
    modified_on timestamptz,
    email text,
    phone_number text,
    login_name text,
    home_street text,
    home_unit text,
    home_country text,
    home_city text,
    home_state text,
    home_zip text,
    home_street_address text,
    home_latitude double precision,
    home_longitude double precision,
    daily_goal numeric,
    is_managed_tech boolean,
    license_type text,
    custom_fields jsonb,
    active boolean,
    aad_user_id text,
    burden_rate numeric,
    team text,
    job_filter text,
    permissions jsonb,
    account_locked boolean,
    commission_rate numeric,
    current_value numeric,
    first_name text,
    last_name text,
    hourly_rate numeric,
    job_id bigint,
    mobile_phone text,
    outbound_caller_id text,
    payroll_id text,
    payroll_profile_id bigint,
    appoitment_id bigint,
    shift_start text,
    shift_end text,
    sold_by_rate numeric,
    start_date timestamptz,
    status text,
    skills jsonb,
    positions jsonb,
    location_latitude double precision,
    location_longitude double precision,
    location_coordinates_updated_on timestamptz,
    bio text,
    memo text,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
CREATE INDEX st_technicians_job ON st_technicians (credential_id, job_id);
CREATE INDEX st_technicians_business_unit ON st_technicians (credential_id, business_unit_id);

CREATE TABLE st_job_types (
    credential_id bigint NOT NULL,
    st_id bigint NOT NULL,
    name text,
    business_unit_ids jsonb,
    skills jsonb,
    tag_type_ids jsonb,
    priority text,
    duration bigint,
    sold_threshold numeric,
    class text,
    summary text,
    no_charge boolean,
    enforce_recurring_service_event_selection boolean,
    invoice_signatures_required boolean,
    modified_on timestamptz,
    created_on timestamptz,
    external_data jsonb,
    active boolean,
    is_smart_dispatched boolean,
    default_estimate_sold_action text,
    custom_field_type_ids jsonb,
    full_data json,
    record_hash bigint NOT NULL,
    spec_version integer NOT NULL,
    local_synced_at timestamptz NOT NULL,
    deleted_at timestamptz,
    PRIMARY KEY (credential_id, st_id)
);
"""

DOWN = """
DROP TABLE st_job_types;
DROP TABLE st_technicians;
DROP TABLE st_business_units;
DROP TABLE st_custom_fields;
DROP TABLE st_campaigns;
DROP TABLE st_call_reasons;
DROP TABLE st_tag_types;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
