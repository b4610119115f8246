"""invoices_stream: one record an invoice, in the form that downstream reads from file uploads.

Here: its columns and rules, what it is made of, and the mapping from a row of st_invoices. Not here: when records are
built (sync/).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from st_pipeline.entities.meanings import ADDRESS_PARTS
from st_pipeline.entities.spec import Column, Kind, Rule, Severity
from st_pipeline.protocol import KeyLookup, Source
from st_pipeline.streams.customers import Customer, read_customers, street_line, survivor_id
from st_pipeline.streams.names import split_name
from st_pipeline.streams.spec import EARLIEST, NEXT_YEAR, StreamSpec

# The invoices of these customers, of those that they were merged into, and of those that were merged into these.
OF_CUSTOMERS = KeyLookup(
    keys="SELECT st_id FROM st_invoices WHERE credential_id = :credential_id AND customer_id = ANY(:ids)",
    related=(
        "SELECT merged_to_id FROM st_customers WHERE credential_id = :credential_id AND st_id = ANY(:ids)",
        "SELECT st_id FROM st_customers WHERE credential_id = :credential_id AND merged_to_id = ANY(:ids)",
    ),
)
ROWS = text("""
    SELECT st_id, reference_number, customer_id, customer_name, job_number, job_type, CAST(total AS text) AS total,
           CAST(subtotal AS text) AS subtotal, CAST(sales_tax AS text) AS tax, CAST(balance AS text) AS balance,
           invoice_date, due_date, summary, customer_address_street, customer_address_unit, customer_address_city,
           customer_address_state, customer_address_zip, business_unit_name, sync_status, active,
           deleted_at IS NULL AS still_exists
    FROM st_invoices WHERE credential_id = :credential_id AND st_id = ANY(:keys)
""")


def map_invoices(connection: Connection, credential_id: int, keys: Sequence[int]) -> list[tuple[Any, ...]]:
    """The records of these invoices, in the order of INVOICES_STREAM's columns."""
    rows = connection.execute(ROWS, {"credential_id": credential_id, "keys": list(keys)}).all()
    wanted = {row.customer_id for row in rows if row.customer_id is not None}
    customers = read_customers(connection, credential_id, wanted)
    return [_record(row, customers) for row in rows]


def _record(row: Row[Any], customers: dict[int, Customer]) -> tuple[Any, ...]:
    customer_id = None if row.customer_id is None else survivor_id(customers, row.customer_id)
    customer = None if customer_id is None else customers.get(customer_id)
    # ServiceTitan: an invoice may still name a customer that was merged; then the one that survived is given here.
    name = row.customer_name
    if customer is not None and (name is None or customer_id != row.customer_id):
        name = customer.name
    first_name, last_name = split_name(name, commercial=customer is not None and customer.is_commercial)
    return (
        str(row.st_id),
        row.reference_number,
        None if customer_id is None else str(customer_id),
        name,
        first_name,
        last_name,
        row.job_number,
        row.job_type,
        row.total,
        row.subtotal,
        row.tax,
        row.balance,
        row.invoice_date,
        row.due_date,
        row.summary,
        street_line(row.customer_address_street, row.customer_address_unit),
        row.customer_address_city,
        row.customer_address_state,
        row.customer_address_zip,
        row.business_unit_name,
        row.sync_status,
        row.active,
        row.still_exists,
    )


INVOICES_STREAM = StreamSpec(
    name="invoices_stream",
    title="Invoices stream",
    description="One record an invoice, as downstream reads it, whether it came from the API or from a file.",
    data_type="invoices",
    anchor="invoices",
    key="invoice_number",
    columns=(
        Column(
            "invoices.st_id",
            Kind.TEXT,
            name="invoice_number",
            description="ServiceTitan's id of the invoice, as text; people see reference_number",
        ),
        Column(
            "invoices.reference_number",
            Kind.TEXT,
            name="reference_number",
            description="the number of the invoice that people see",
        ),
        Column(
            "invoices.customer_id",
            Kind.TEXT,
            name="customer_id",
            description="ServiceTitan's id of the customer; of a merged one, of the customer that survived",
        ),
        Column(
            "invoices.customer_name",
            Kind.TEXT,
            name="customer_name",
            description="the person or business; of a merged customer, the one that survived",
        ),
        Column(
            "customer_name",
            Kind.TEXT,
            name="customer_first_name",
            description="given name of a person; null where a name stays whole, such as a business's",
        ),
        Column(
            "customer_name",
            Kind.TEXT,
            name="customer_last_name",
            description="family name of a person, or the whole name",
        ),
        Column(
            "invoices.job_number",
            Kind.TEXT,
            name="job_number",
            description="the number of its job that people see; null: no job",
        ),
        Column("invoices.job_type", Kind.TEXT, name="job_type", description="name of its job's type"),
        Column(
            "invoices.total",
            Kind.DECIMAL,
            name="total",
            description="amount with tax, in the account's currency",
        ),
        Column(
            "invoices.subtotal",
            Kind.DECIMAL,
            name="subtotal",
            description="amount before tax, in the account's currency",
        ),
        Column("invoices.sales_tax", Kind.DECIMAL, name="tax", description="amount of tax, in the account's currency"),
        Column(
            "invoices.balance",
            Kind.DECIMAL,
            name="balance",
            description="what is still to be paid, in the account's currency",
        ),
        Column("invoices.invoice_date", Kind.DAY, name="invoice_date", description="the day that the invoice bears"),
        Column("invoices.due_date", Kind.DAY, name="due_date", description="until when it is to be paid"),
        Column(
            "invoices.summary", Kind.TEXT, name="summary", description="what was done, HTML as ServiceTitan sends it"
        ),
        Column(
            "invoices.customer_address", Kind.TEXT, name="customer_address", description="street, house number and unit"
        ),
        Column("invoices.customer_address_city", Kind.TEXT, name="customer_city", description=ADDRESS_PARTS["city"]),
        Column("invoices.customer_address_state", Kind.TEXT, name="customer_state", description=ADDRESS_PARTS["state"]),
        Column("invoices.customer_address_zip", Kind.TEXT, name="customer_zip", description=ADDRESS_PARTS["zip"]),
        Column(
            "invoices.business_unit_name",
            Kind.TEXT,
            name="business_unit",
            description="name of the unit it is booked under",
        ),
        Column(
            "invoices.sync_status",
            Kind.TEXT,
            name="status",
            description="how far it is on its way into the accounting system",
            known_values=("Pending", "Posted", "Exported"),
        ),
        Column("invoices.active", Kind.BOOLEAN, name="active", description="false: void"),
        Column(
            "invoices.deleted_at",
            Kind.BOOLEAN,
            name="still_exists",
            description="false: the invoice was deleted in ServiceTitan",
        ),
    ),
    rules=(
        Rule("invoice has no number", "invoice_number", Severity.REJECT, not_null=True),
        Rule("invoice has no customer", "customer_id", Severity.REJECT, not_null=True),
        Rule("total is not a number", "total", Severity.REJECT, not_null=True),
        Rule(
            "invoice date is outside 1990 to next year",
            "invoice_date",
            Severity.REJECT,
            minimum=EARLIEST,
            maximum=NEXT_YEAR,
        ),
        Rule("invoice has no date", "invoice_date", Severity.WARN, not_null=True),
        Rule("customer has no name", "customer_name", Severity.WARN, not_null=True),
        Rule("due date is outside 1990 to next year", "due_date", Severity.WARN, minimum=EARLIEST, maximum=NEXT_YEAR),
    ),
    sources=(
        Source("invoices", keys=("st_id",)),
        Source("customers", facts=("name", "type", "merged_to_id"), lookup=OF_CUSTOMERS),
    ),
    map_records=map_invoices,
    version=2,
)
