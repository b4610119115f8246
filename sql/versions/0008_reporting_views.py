"""Views for what people ask first: invoices with their payments, customers, open estimates, jobs by day."""

from alembic import op

revision = "0008"
down_revision = "0007"

SURVIVOR = """
CREATE FUNCTION surviving_customer(credential bigint, customer bigint) RETURNS bigint
LANGUAGE sql STABLE PARALLEL SAFE
RETURN (
    WITH RECURSIVE merges (st_id, step) AS (
        SELECT customer, 0
        UNION ALL
        SELECT c.merged_to_id, m.step + 1
        FROM merges m JOIN st_customers c ON c.credential_id = credential AND c.st_id = m.st_id
        WHERE c.merged_to_id IS NOT NULL
    ) CYCLE st_id SET is_circle USING passed
    SELECT CASE WHEN bool_or(is_circle) THEN customer ELSE (array_agg(st_id ORDER BY step DESC))[1] END FROM merges
);
COMMENT ON FUNCTION surviving_customer IS 'The customer that one ended in, over all merges; itself where it was not '
    'merged, or in a circle.';
"""

# Without fastupdate: its list of pending rows is walked at each look-up, 70 times slower after a load.
# Payments are found by the index first, whatever their tenant (OFFSET 0): else Postgres walks a tenant's payments for
# each invoice, too. The same condition twice: for what it cannot estimate Postgres takes 1 % of the table, for two of
# it 0.01 %, and would go to lengths for many rows that are one.
INVOICES = """
CREATE INDEX st_payments_applied_to ON st_payments
    USING gin (jsonb_path_query_array(applied_to, '$[*].appliedTo') jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX st_invoices_date ON st_invoices (credential_id, invoice_date);

CREATE VIEW report_invoices AS
SELECT t.partition_key AS tenant, t.company, t.environment, i.credential_id,
       i.st_id AS invoice_id, i.reference_number, i.invoice_date, i.due_date, i.active, i.sync_status,
       i.customer_id, coalesce(c.st_id, i.customer_id) AS current_customer_id,
       coalesce(c.name, i.customer_name) AS customer,
       i.job_id, coalesce(j.job_number, i.job_number) AS job_number, coalesce(y.name, i.job_type) AS job_type,
       j.job_status, i.business_unit_id, coalesce(b.name, i.business_unit_name) AS business_unit,
       i.subtotal, i.sales_tax, i.total, i.balance, p.paid, p.last_paid_on, p.payments
FROM st_invoices i
JOIN tenants t ON t.credential_id = i.credential_id
LEFT JOIN st_customers n ON n.credential_id = i.credential_id AND n.st_id = i.customer_id
LEFT JOIN st_customers c ON c.credential_id = i.credential_id AND c.st_id = CASE
    WHEN n.merged_to_id IS NULL THEN i.customer_id ELSE surviving_customer(i.credential_id, i.customer_id) END
LEFT JOIN st_jobs j ON j.credential_id = i.credential_id AND j.st_id = i.job_id
LEFT JOIN st_job_types y ON y.credential_id = i.credential_id AND y.st_id = j.job_type_id
LEFT JOIN st_business_units b ON b.credential_id = i.credential_id AND b.st_id = i.business_unit_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(amount), 0) AS paid, max(paid_on) AS last_paid_on,
           coalesce(jsonb_agg(jsonb_build_object('payment_id', st_id, 'paid_on', paid_on, 'type', type,
                                                 'amount', amount) ORDER BY paid_on, st_id), '[]') AS payments
    FROM (
        SELECT found.st_id, found.type, CAST(found.date AT TIME ZONE 'UTC' AS date) AS paid_on,
               CASE WHEN part ->> 'appliedAmount' ~ '^-?[0-9]+([.][0-9]+)?$'
                    THEN CAST(part ->> 'appliedAmount' AS numeric) END AS amount
        FROM (
            SELECT st_id, credential_id, deleted_at, active, date, type, applied_to FROM st_payments
            WHERE jsonb_path_query_array(applied_to, '$[*].appliedTo') @> jsonb_build_array(i.st_id)
                  AND jsonb_path_query_array(applied_to, '$[*].appliedTo') @> to_jsonb(i.st_id)
            OFFSET 0
        ) found CROSS JOIN LATERAL jsonb_path_query(found.applied_to, '$[*]') AS part
        WHERE found.credential_id = i.credential_id AND found.deleted_at IS NULL AND found.active IS NOT FALSE
              AND part -> 'appliedTo' = to_jsonb(i.st_id)
    ) applied
) p
WHERE i.deleted_at IS NULL;
COMMENT ON VIEW report_invoices IS 'An invoice that still exists, with customer, job, business unit and payments.';
"""

CUSTOMERS = """
CREATE VIEW report_customers AS
SELECT t.partition_key AS tenant, t.company, t.environment, c.credential_id,
       c.st_id AS customer_id, o.ids AS customer_ids, c.name AS customer, c.type, c.active,
       c.address_street AS street, c.address_unit AS unit, c.address_city AS city, c.address_state AS state,
       c.address_zip AS zip, c.balance,
       (SELECT coalesce(nullif(trim(k.value), ''), trim(k.phone_settings_phone_number)) FROM st_customer_contacts k
        WHERE k.credential_id = c.credential_id AND k.customer_id = ANY (o.ids) AND k.active AND k.deleted_at IS NULL
              AND k.type IN ('MobilePhone', 'Phone')
              AND coalesce(nullif(trim(k.value), ''), trim(k.phone_settings_phone_number)) <> ''
        ORDER BY k.type = 'MobilePhone' DESC, k.st_id LIMIT 1) AS primary_phone,
       (SELECT coalesce(nullif(trim(k.value), ''), trim(k.phone_settings_phone_number)) FROM st_customer_contacts k
        WHERE k.credential_id = c.credential_id AND k.customer_id = ANY (o.ids) AND k.active AND k.deleted_at IS NULL
              AND k.type = 'Email'
              AND coalesce(nullif(trim(k.value), ''), trim(k.phone_settings_phone_number)) <> ''
        ORDER BY k.st_id LIMIT 1) AS primary_email,
       (SELECT count(*) FROM st_locations l WHERE l.credential_id = c.credential_id AND l.customer_id = ANY (o.ids)
        AND l.active AND l.deleted_at IS NULL) AS location_count,
       (SELECT coalesce(jsonb_agg(jsonb_build_object(
                   'location_id', l.st_id, 'name', l.name, 'street', l.address_street, 'unit', l.address_unit,
                   'city', l.address_city, 'state', l.address_state, 'zip', l.address_zip) ORDER BY l.st_id), '[]')
        FROM st_locations l WHERE l.credential_id = c.credential_id AND l.customer_id = ANY (o.ids)
        AND l.active AND l.deleted_at IS NULL) AS locations,
       coalesce(m.is_active, false) AS active_member, m.st_id AS membership_id, m.type_name AS membership_type,
       m.status AS membership_status, m.starts AS membership_start, m.ends AS membership_end
FROM st_customers c
JOIN tenants t ON t.credential_id = c.credential_id
CROSS JOIN LATERAL (
    WITH RECURSIVE own (st_id) AS (
        SELECT c.st_id
        UNION
        SELECT d.st_id FROM own JOIN st_customers d ON d.credential_id = c.credential_id AND d.merged_to_id = own.st_id
    )
    SELECT array_agg(st_id ORDER BY st_id <> c.st_id, st_id) AS ids FROM own
) o
LEFT JOIN LATERAL (
    SELECT h.st_id, h.status, h.status IS NOT DISTINCT FROM 'Active' AS is_active,
           coalesce(y.display_name, y.name) AS type_name,
           CAST(h.starts_on AT TIME ZONE 'UTC' AS date) AS starts, CAST(h.ends_on AT TIME ZONE 'UTC' AS date) AS ends
    FROM st_memberships h
    LEFT JOIN st_membership_types y ON y.credential_id = h.credential_id AND y.st_id = h.membership_type_id
    WHERE h.credential_id = c.credential_id AND h.customer_id = ANY (o.ids) AND h.deleted_at IS NULL
    ORDER BY is_active DESC, ends DESC NULLS FIRST, starts DESC NULLS LAST, h.st_id DESC LIMIT 1
) m ON true
WHERE c.deleted_at IS NULL
      AND (c.merged_to_id IS NULL OR surviving_customer(c.credential_id, c.st_id) = c.st_id);
COMMENT ON VIEW report_customers IS 'A customer that still exists and was not merged, with phone, e-mail, locations '
    'and the membership that counts; those of customers merged into it included.';
"""

ESTIMATES = """
CREATE INDEX st_estimates_open ON st_estimates (credential_id, created_on)
    WHERE status_name = 'Open' AND deleted_at IS NULL AND active IS NOT FALSE;

CREATE VIEW report_open_estimates AS
SELECT t.partition_key AS tenant, t.company, t.environment, e.credential_id,
       e.st_id AS estimate_id, e.name AS estimate, e.created_on, e.review_status, e.is_recommended,
       coalesce(e.sold_by, j.sold_by_id, a.technician_id) AS technician_id, w.name AS technician,
       CASE WHEN e.sold_by IS NOT NULL THEN 'estimate' WHEN j.sold_by_id IS NOT NULL THEN 'job'
            WHEN a.technician_id IS NOT NULL THEN 'appointment' END AS technician_from,
       e.customer_id, coalesce(c.st_id, e.customer_id) AS current_customer_id, c.name AS customer,
       e.job_id, coalesce(j.job_number, e.job_number) AS job_number, j.job_status,
       e.business_unit_id, coalesce(b.name, e.business_unit_name) AS business_unit,
       e.subtotal, e.tax, e.subtotal + coalesce(e.tax, 0) AS total
FROM st_estimates e
JOIN tenants t ON t.credential_id = e.credential_id
LEFT JOIN st_jobs j ON j.credential_id = e.credential_id AND j.st_id = e.job_id
LEFT JOIN LATERAL (
    SELECT CAST(note.technician_id AS bigint) AS technician_id
    FROM st_appointments v CROSS JOIN LATERAL jsonb_path_query(
        v.appointment_summaries, '$[*].technicianId ? (@ > 0 && @ < 9000000000000000000)'
    ) WITH ORDINALITY AS note (technician_id, place)
    WHERE v.credential_id = e.credential_id AND v.job_id = e.job_id AND v.deleted_at IS NULL
          AND coalesce(e.sold_by, j.sold_by_id) IS NULL
    ORDER BY v.starts_at DESC NULLS LAST, v.st_id DESC, note.place DESC LIMIT 1
) a ON true
LEFT JOIN st_technicians w ON w.credential_id = e.credential_id
    AND w.st_id = coalesce(e.sold_by, j.sold_by_id, a.technician_id)
LEFT JOIN st_customers n ON n.credential_id = e.credential_id AND n.st_id = e.customer_id
LEFT JOIN st_customers c ON c.credential_id = e.credential_id AND c.st_id = CASE
    WHEN n.merged_to_id IS NULL THEN e.customer_id ELSE surviving_customer(e.credential_id, e.customer_id) END
LEFT JOIN st_business_units b ON b.credential_id = e.credential_id AND b.st_id = e.business_unit_id
WHERE e.status_name = 'Open' AND e.deleted_at IS NULL AND e.active IS NOT FALSE;
COMMENT ON VIEW report_open_estimates IS 'An estimate whose status is Open, with the technician who is known for it.';
"""

JOBS = """
CREATE INDEX st_appointments_day ON st_appointments (credential_id, CAST(starts_at AT TIME ZONE 'UTC' AS date));

CREATE VIEW report_jobs AS
SELECT t.partition_key AS tenant, t.company, t.environment, j.credential_id,
       j.st_id AS job_id, j.job_number, j.job_status, CAST(a.starts_at AT TIME ZONE 'UTC' AS date) AS day,
       a.starts_at, a.ends_at, j.appointment_count, j.created_on, j.completed_on, y.name AS job_type, j.priority,
       j.customer_id, coalesce(c.st_id, j.customer_id) AS current_customer_id, c.name AS customer,
       j.location_id, l.address_city AS city, l.address_zip AS zip,
       j.business_unit_id, b.name AS business_unit, j.invoice_id, j.total
FROM st_jobs j
JOIN tenants t ON t.credential_id = j.credential_id
LEFT JOIN st_appointments a ON a.credential_id = j.credential_id AND a.st_id = j.last_appointment_id
    AND a.job_id = j.st_id
LEFT JOIN st_job_types y ON y.credential_id = j.credential_id AND y.st_id = j.job_type_id
LEFT JOIN st_customers n ON n.credential_id = j.credential_id AND n.st_id = j.customer_id
LEFT JOIN st_customers c ON c.credential_id = j.credential_id AND c.st_id = CASE
    WHEN n.merged_to_id IS NULL THEN j.customer_id ELSE surviving_customer(j.credential_id, j.customer_id) END
LEFT JOIN st_locations l ON l.credential_id = j.credential_id AND l.st_id = j.location_id
LEFT JOIN st_business_units b ON b.credential_id = j.credential_id AND b.st_id = j.business_unit_id
WHERE j.deleted_at IS NULL;
COMMENT ON VIEW report_jobs IS 'A job that still exists; its day is the UTC day on which its last appointment begins.';
"""

UP = SURVIVOR + INVOICES + CUSTOMERS + ESTIMATES + JOBS
DOWN = """
DROP VIEW report_jobs;
DROP VIEW report_open_estimates;
DROP VIEW report_customers;
DROP VIEW report_invoices;
DROP FUNCTION surviving_customer;
DROP INDEX st_appointments_day;
DROP INDEX st_estimates_open;
DROP INDEX st_invoices_date;
DROP INDEX st_payments_applied_to;
"""


def upgrade() -> None:
    """Apply."""
    op.get_bind().exec_driver_sql(UP)


def downgrade() -> None:
    """Undo."""
    op.get_bind().exec_driver_sql(DOWN)
