"""How the reporting views are read, and the queries that docs/reports.md shows: by which indexes, with which columns.

What they answer is compared in test_reporting_views.py; test_docs_sql.py runs the guide's queries on synced data.
"""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, inspect

from st_pipeline_tests.documents import PAGES
from st_pipeline_tests.postgres.test_reporting_views import VIEWS

GUIDE = next(page for page in PAGES if page.name == "reports.md")
EXAMPLES = dict(zip(VIEWS, GUIDE.blocks("sql"), strict=True))
# Entity: columns and values of row n of tenant c.
MADE = {
    "customers": ("merged_to_id", "CASE WHEN mod(n, 50) = 0 THEN n - 1 END"),
    "customer_contacts": ("customer_id, type, value, active", "n, 'Phone', '5', true"),
    "locations": ("customer_id, active", "n, true"),
    "memberships": ("customer_id, status", "n, 'Active'"),
    "invoices": ("invoice_date, total, balance, active", "current_date - n * 9, 9, 9, true"),
    "payments": ("applied_to", "jsonb_build_array(jsonb_build_object('appliedTo', c * 1000 + n))"),
    "jobs": ("last_appointment_id, job_status", "n, 'Completed'"),
    "appointments": ("job_id, starts_at", "n, now() - make_interval(days => n)"),
    "estimates": (
        "job_id, status_name, created_on",
        "n, CASE WHEN mod(n, 4) = 0 THEN 'Open' ELSE 'Sold' END, now() - make_interval(days => n * 9)",
    ),
}
LOOK_UPS = {
    "report_invoices": ("invoice_id = 7", {"st_invoices_pkey", "st_payments_applied_to"}),
    "report_customers": ("customer_id = 49", {"st_customers_pkey", "st_customers_merged", "st_locations_customer"}),
    "report_open_estimates": ("technician_id = 7", {"st_estimates_open", "st_appointments_job"}),
    "report_jobs": ("job_id = 7", {"st_jobs_pkey", "st_appointments_job"}),
}
SERVED = {
    "report_invoices": {"st_invoices_date", "st_payments_applied_to"},
    "report_customers": {"st_customers_merged", "st_customer_contacts_customer", "st_memberships_customer"},
    "report_open_estimates": {"st_estimates_open"},
    "report_jobs": {"st_appointments_day", "st_jobs_pkey"},
}


@pytest.fixture
def many_tenants(engine: Engine) -> Iterator[Connection]:
    """40 tenants with 500 rows in each table, written in turns."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO companies (slug, name) SELECT 'company-' || n, 'Made' FROM generate_series(1, 40) n; "
            "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
            "SELECT id, 'production', id, '', '' FROM companies"
        )
        rows = "generate_series(1, 500) n, generate_series(1, 40) c"
        for entity, (columns, values) in MADE.items():
            connection.exec_driver_sql(
                f"INSERT INTO st_{entity} (credential_id, st_id, {columns}, record_hash, spec_version, "  # noqa: S608
                f"local_synced_at) SELECT c, n, {values}, 0, 1, now() FROM {rows}"
            )
        connection.exec_driver_sql("ANALYZE")
        yield connection


def test_a_tenants_query_scans_no_table_of_all_tenants(many_tenants: Connection):
    wrong = []
    for view in VIEWS:
        condition, look_up_indexes = LOOK_UPS[view]
        look_up = f"SELECT * FROM {view} WHERE tenant = 'company-7' AND {condition}"  # noqa: S608
        example = EXAMPLES[view].replace("acme-plumbing", "company-7")
        for query, indexes in ((look_up, look_up_indexes), (example, SERVED[view])):
            plan = "\n".join(many_tenants.exec_driver_sql(f"EXPLAIN {query}").scalars())
            walked = [entity for entity in MADE if f"Seq Scan on st_{entity} " in plan]
            missed = sorted(index for index in indexes if f" {index} " not in plan)
            if walked or missed:
                wrong.append(f"{query}\nwalks {walked}, misses {missed}:\n{plan}")
    assert not wrong, "\n\n".join(wrong)


def test_the_payments_of_an_invoice_are_found_without_scanning_its_tenants(many_tenants: Connection):
    """With more payments Postgres would scan the tenant's, too: among 50,000 that is 1.7 ms for each invoice."""
    many_tenants.exec_driver_sql(
        "UPDATE pg_class SET reltuples = reltuples * 10 WHERE starts_with(relname, 'st_payments')"
    )
    query = "EXPLAIN SELECT paid FROM report_invoices WHERE credential_id = 7 AND invoice_id = 7"
    plan = "\n".join(many_tenants.exec_driver_sql(query).scalars())
    assert "Bitmap Index Scan on st_payments_applied_to" in plan
    assert "BitmapAnd" not in plan


def test_the_guide_shows_the_columns_that_its_queries_answer(many_tenants: Connection):
    outputs = [block.splitlines()[0] for block in GUIDE.blocks("") if "-+-" in block]
    shown = [[name.strip() for name in line.split("|")] for line in outputs]
    assert shown == [list(many_tenants.exec_driver_sql(example).keys()) for example in EXAMPLES.values()]


@pytest.mark.parametrize("view", VIEWS)
def test_the_guide_lists_a_views_columns(engine: Engine, view: str):
    section = GUIDE.text.partition(f"\n`{view}`: one row")[2].partition("\n## ")[0]
    listed = re.findall(r"`(\w+)`", section.partition("Columns:")[2].partition(".\n")[0])
    columns = [column["name"] for column in inspect(engine).get_columns(view)]
    assert ["tenant", "company", "environment", "credential_id", *listed] == columns


def test_the_guide_names_no_column_or_index_that_does_not_exist(engine: Engine):
    words = {word for span in GUIDE.spans() for word in re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", span)}
    with engine.connect() as connection:
        columns = connection.exec_driver_sql("SELECT column_name FROM information_schema.columns").scalars().all()
        relations = connection.exec_driver_sql("SELECT relname FROM pg_class").scalars().all()
    assert {"current_customer_id", "st_payments_applied_to"} <= words
    assert words - {*columns, *relations} == {"current_date", "payment_id"}  # the second: a key of `payments`
