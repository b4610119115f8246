"""What SQL says of the tables that people query: of entities, of streams, and of the views for reports.

Here: gathering it from the specs, and the columns of the views, which only SQL declares. Not here: bringing a database
up to date with it (postgres/); our own tables, whose comments the migrations set.
"""

from st_pipeline.entities import ENTITIES
from st_pipeline.entities.meanings import ACCOUNT_CURRENCY, ADDRESS_PARTS
from st_pipeline.streams import STREAMS

OF_ALL_REPORTS = {
    "tenant": "the tenant's name: tenants.partition_key; read one tenant at a time",
    "company": "slug of the company: companies.slug",
    "environment": "production or integration",
    "credential_id": "the tenant: tenants.credential_id",
    "customer_id": "the customer as the record has it: st_customers.st_id",
    "current_customer_id": "the customer that survived all merges: st_customers.st_id",
    "customer": "name of the customer that survived all merges",
    "job_id": "the job: st_jobs.st_id",
    "job_number": "the number of the job that people see",
    "job_type": "name of the job's type",
    "job_status": "status of the job; null: no job, or none that is here",
    "business_unit_id": "the business unit: st_business_units.st_id",
    "business_unit": "name of the business unit",
    "created_on": "when ServiceTitan created the record",
}
REPORTS = {
    "report_invoices": {
        "invoice_id": "st_invoices.st_id",
        "reference_number": "the number of the invoice that people see",
        "invoice_date": "the day that the invoice bears",
        "due_date": "until when it is to be paid",
        "active": "false: void",
        "sync_status": "how far it is on its way into the accounting system",
        "subtotal": f"amount before tax, {ACCOUNT_CURRENCY}",
        "sales_tax": f"amount of tax, {ACCOUNT_CURRENCY}",
        "total": f"amount with tax, {ACCOUNT_CURRENCY}",
        "balance": f"what is still to be paid as ServiceTitan has it, {ACCOUNT_CURRENCY}",
        "paid": f"what payments apply to it, {ACCOUNT_CURRENCY}; void and deleted payments do not count",
        "last_paid_on": "day of the last payment that applies to it",
        "payments": "list of these payments, oldest first: {payment_id, paid_on, type, amount}",
    },
    "report_customers": {
        "customer_id": "st_customers.st_id; no customer that was merged into another has a row",
        "customer_ids": "its own id, then those of customers merged into it: all count as this one",
        "customer": "the person or business, as people typed it",
        "type": "usually Residential, Commercial",
        "active": "false: archived",
        **{name: ADDRESS_PARTS[name] for name in ("street", "unit", "city", "state", "zip")},
        "balance": f"what the customer owes, {ACCOUNT_CURRENCY}",
        "primary_phone": "number of an active contact: mobile before landline, then the first added",
        "primary_email": "address of the active contact that was added first",
        "location_count": "number of active locations",
        "locations": "list of these locations: {location_id, name, street, unit, city, state, zip}",
        "active_member": "true: the membership that counts is Active",
        "membership_id": "the membership that counts: st_memberships.st_id; an Active one, then the last to end",
        "membership_type": "kind of the membership that counts",
        "membership_status": "status of the membership that counts",
        "membership_start": "first day of the membership that counts",
        "membership_end": "last day of the membership that counts; null: no end",
    },
    "report_open_estimates": {
        "estimate_id": "st_estimates.st_id",
        "estimate": "what the option is called",
        "review_status": "whether the company has approved it",
        "is_recommended": "true: the option that is recommended to the customer",
        "technician_id": "the best that is known: st_technicians.st_id, or another employee; technician_from says how",
        "technician": "name of the technician; null: somebody else, or nobody known",
        "technician_from": "where technician_id is from: estimate or job (who sold), appointment (the last note)",
        "subtotal": f"amount before tax, {ACCOUNT_CURRENCY}",
        "tax": f"tax on the subtotal, {ACCOUNT_CURRENCY}",
        "total": f"subtotal and tax together, {ACCOUNT_CURRENCY}",
    },
    "report_jobs": {
        "day": "the UTC day on which its last appointment begins; null: that appointment is not known",
        "starts_at": "when its last appointment begins",
        "ends_at": "when its last appointment ends",
        "appointment_count": "number of appointments",
        "completed_on": "when the work was finished; canceled jobs can have one, too",
        "priority": "how urgent it is",
        "location_id": "the location: st_locations.st_id",
        "city": "city of the location",
        "zip": "postal code of the location, as text",
        "invoice_id": "the job's invoice: st_invoices.st_id",
        "total": f"what was billed, {ACCOUNT_CURRENCY}; 0, not null, when nothing was",
    },
}


def table_comments() -> dict[str, dict[str, str]]:
    """By table or view the comment on each column, and on the table itself under the empty name."""
    parts = {
        one.table: {**spec.comments, "": one.description} for spec in ENTITIES.values() for one in (spec, *spec.lists)
    }
    streams = {stream.table: stream.comments for stream in STREAMS.values()}
    return {**parts, **streams, **{view: {**OF_ALL_REPORTS, **columns} for view, columns in REPORTS.items()}}
