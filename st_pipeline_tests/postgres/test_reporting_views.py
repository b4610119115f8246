"""The reporting views against the simulator's own records. How they are read: test_reporting_plans.py."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from st_pipeline.entities import ENTITIES
from st_pipeline_tests.acme import Acme

VIEWS = ("report_invoices", "report_customers", "report_open_estimates", "report_jobs")
Parts = list[tuple[int, Decimal]]


def records(acme: Acme, entity: str) -> Iterator[dict[str, Any]]:
    """What the source still has of an entity."""
    return (acme.source.record(entity, st_id) for st_id in acme.source.ids(entity))


def applied(acme: Acme) -> dict[int, Parts]:
    """By invoice: the id of each valid payment, and the amount it applies."""
    found: dict[int, Parts] = defaultdict(list)
    for payment in records(acme, "payments"):
        for part in (payment["appliedTo"] or ()) if payment["active"] else ():
            found[part["appliedTo"]].append((payment["id"], Decimal(part["appliedAmount"])))
    return found


def listed(acme: Acme) -> dict[int, list[tuple[int, Any]]]:
    """The same from the lists in the view; a sum that differs from `paid` would show."""
    rows = acme.rows("SELECT invoice_id, paid, CAST(payments AS text) FROM report_invoices")
    found = {}
    for invoice_id, paid, payments in rows:
        parts = [(one["payment_id"], one["amount"]) for one in json.loads(payments, parse_float=Decimal)]
        assert paid == sum(amount for _, amount in parts if amount is not None)
        found[invoice_id] = sorted(parts, key=str)
    return found


def merges(acme: Acme) -> dict[int, int]:
    """Customers that were merged, and the ones they were merged into."""
    return {one["id"]: one["mergedToId"] for one in records(acme, "customers") if one["mergedToId"]}


def survivor(merged: dict[int, int], customer: int) -> int:
    """The customer that one was finally merged into."""
    while customer in merged:
        customer = merged[customer]
    return customer


def everything(acme: Acme) -> dict[str, list[Any]]:
    """Every row of every view of one tenant."""
    query = "SELECT CAST(to_jsonb(r) AS text) FROM {} r WHERE tenant = 'acme' ORDER BY 1"
    return {view: acme.rows(query.format(view)) for view in VIEWS}


def test_invoices_are_paid_by_what_their_payments_apply(synced_acme: Acme):
    """Paid in two parts, two paid at once, refunded, void and deleted: the simulator's records have all of them."""
    acme = synced_acme
    acme.source.advance(created={"payments": 6, "invoices": 4}, deleted={"payments": 4}, changed={"invoices": 9})
    acme.sync(incremental_only=False)
    expected = applied(acme)
    assert listed(acme) == {st_id: sorted(expected[st_id], key=str) for st_id in acme.source.ids("invoices")}
    assert {1, 2} <= {len(parts) for parts in expected.values()}
    assert max(Counter(st_id for parts in expected.values() for st_id, _ in parts).values()) > 1
    truth = acme.source.truth("invoices")["invoices"]["totals"]
    sums = "SELECT sum(total), sum(balance), sum(total - paid), max(abs(total - paid - balance)) FROM report_invoices"
    total, balance = Decimal(truth["total"]), Decimal(truth["balance"])
    assert acme.rows(sums) == [(total, balance, balance, 0)]


def test_void_and_deleted_payments_and_invalid_amounts_do_not_count(synced_acme: Acme):
    acme = synced_acme
    one, other = acme.source.ids("invoices")[:2]
    before = applied(acme)
    odd = [{"appliedTo": one, "appliedAmount": amount} for amount in ("", None, "ten", "NaN")]
    odd += [{"appliedTo": to, "appliedAmount": "1"} for to in (str(one), None, [one])]
    parts = [{"appliedTo": to, "appliedAmount": "10.10"} for to in (one, other, one)]
    shared = acme.add("payments", active=True, appliedTo=[*parts, *odd])
    acme.add("payments", active=False, appliedTo=parts)
    gone = acme.add("payments", active=True, appliedTo=parts)
    acme.sync(only=("payments",))
    assert (gone, Decimal("10.10")) in listed(acme)[other]
    acme.source.delete("payments", gone)
    acme.sync(only=("payments",), incremental_only=False)
    found = listed(acme)
    ten = shared, Decimal("10.10")
    assert found[other] == sorted([*before[other], ten], key=str)
    assert found[one] == sorted([*before[one], ten, ten, *[(shared, None)] * 4], key=str)
    acme.execute("UPDATE st_payments SET deleted_at = now() WHERE st_id = :id", id=shared)  # still active, yet gone
    assert listed(acme)[other] == sorted(before[other], key=str)


def test_an_invoice_names_its_customer_job_and_business_unit(synced_acme: Acme):
    acme = synced_acme
    jobs, merged = {job["id"]: job for job in records(acme, "jobs")}, merges(acme)
    named = ("customers", "business_units", "job_types")
    names = {entity: {one["id"]: one["name"] for one in records(acme, entity)} for entity in named}
    expected = []
    for invoice in records(acme, "invoices"):
        job, unit, customer = (
            jobs.get((invoice["job"] or {"id": None})["id"]),
            invoice["businessUnit"],
            invoice["customer"],
        )
        of_job = (
            (job["jobNumber"], job["jobStatus"], names["job_types"][job["jobTypeId"]]) if job else (None, None, None)
        )
        current = survivor(merged, customer["id"])
        of_customer = (customer["id"], current, names["customers"][current])
        day = date.fromisoformat(invoice["invoiceDate"][:10])
        unit_name = unit and names["business_units"][unit["id"]]
        expected.append((invoice["id"], day, invoice["active"], *of_customer, *of_job, unit_name))
    found = acme.rows(
        "SELECT invoice_id, invoice_date, active, customer_id, current_customer_id, customer, job_number, job_status, "
        "job_type, business_unit FROM report_invoices WHERE tenant = 'acme' ORDER BY invoice_id"
    )
    assert found == sorted(expected, key=lambda row: row[0])
    assert {row[7] for row in found} > {None, "Completed"}


def test_a_customer_is_the_one_of_the_stream_with_its_locations(acme: Acme):
    """Two implementations of what counts: members.py in Python, the view in SQL."""
    holders = [st_id for st_id in acme.source.ids("customers") if st_id not in merges(acme)]
    terms = (("to", ("2030", "2031")), ("to", ("2031", "2030", None)), ("from", ("2022", "2021")))
    for holder, (end, years) in zip(holders, terms, strict=False):
        for year in years:
            days = {"from": "2020-05-01T00:00:00Z", "to": None, end: year and f"{year}-01-01T00:00:00Z"}
            acme.add("memberships", customerId=holder, status="Active", active=True, **days)
    acme.source.advance(merged=4, deleted={"customer_contacts": 2, "locations": 2, "memberships": 1})
    acme.sync()
    acme.source.advance(merged=3, deleted={"locations": 1}, changed={"memberships": 3})
    merged = merges(acme)
    acme.source.advance(deleted={"customers": 3})
    acme.sync(incremental_only=False)
    columns = "primary_phone, primary_email, active_member, membership_type, membership_start, membership_end"
    of_stream = columns.replace("primary_phone, primary_email", "customer_phone_number_primary, customer_email_primary")
    view = f"SELECT CAST(customer_id AS text), customer, {columns} FROM report_customers ORDER BY 1"  # noqa: S608
    stream = f"SELECT customer_id, customer_name, {of_stream} FROM members_stream WHERE still_exists ORDER BY 1"  # noqa: S608
    assert acme.rows(view) == acme.rows(stream)
    expected: dict[int, list[int]] = defaultdict(list)
    for location in records(acme, "locations"):
        if location["active"]:
            expected[survivor(merged, location["customerId"])].append(location["id"])
    rows = acme.rows("SELECT customer_id, location_count, locations FROM report_customers")
    found = {st_id: (count, [one["location_id"] for one in locations]) for st_id, count, locations in rows}
    assert found == {st_id: (len(expected[st_id]), sorted(expected[st_id])) for st_id in found}
    assert max(count for count, _ in found.values()) > 1


def test_records_of_a_customer_that_was_merged_twice_count_as_the_survivors(synced_acme: Acme):
    acme = synced_acme
    merged = merges(acme)
    free = [st_id for st_id in acme.source.ids("customers") if st_id not in {*merged, *merged.values()}]
    first, second, last, one_of_circle, other_of_circle, beside = free[:6]
    invoice = acme.add("invoices", customer={"id": first, "name": "Old Name"})
    endless = acme.add("invoices", customer={"id": beside, "name": None})
    circle = ((one_of_circle, other_of_circle), (other_of_circle, one_of_circle), (beside, one_of_circle))
    for customer, into in ((first, second), (second, last), *circle):
        acme.source.patch("customers", customer, {"mergedToId": into, "active": False})
    acme.source.patch("customers", last, {"name": "New Name"})
    acme.sync(only=("customers", "invoices"))
    query = "SELECT customer_id, current_customer_id, customer FROM report_invoices WHERE invoice_id = :id"
    assert acme.rows(query, id=invoice) == [(first, last, "New Name")]
    assert acme.rows(query, id=endless)[0][:2] == (beside, beside)
    ids = "SELECT customer_ids FROM report_customers WHERE customer_id = :id"
    assert acme.value(ids, id=last) == [last, *sorted((first, second))]
    assert [acme.value(ids, id=one) for one in (first, second)] == [None, None]
    assert [acme.value(ids, id=one)[0] for one, _ in circle] == [one for one, _ in circle]


def test_open_estimates_are_the_sources_with_the_technician_who_is_known(synced_acme: Acme):
    acme = synced_acme
    acme.source.advance(created={"estimates": 5}, changed={"estimates": 5}, deleted={"estimates": 3})
    office = acme.add("estimates", status={"value": 0, "name": "Open"}, active=True, soldBy=77)
    acme.sync(incremental_only=False)
    sellers = {job["id"]: job["soldById"] for job in records(acme, "jobs")}
    names = {one["id"]: one["name"] for one in records(acme, "technicians")}
    notes: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
    for visit in records(acme, "appointments"):
        for note in visit["appointmentSummaries"] or ():
            notes[visit["jobId"]].append((visit["start"], visit["id"], note["technicianId"]))
    expected = []
    for estimate in records(acme, "estimates"):
        if estimate["status"]["name"] == "Open" and estimate["active"]:
            seller, job, visits = estimate["soldBy"], sellers[estimate["jobId"]], notes[estimate["jobId"]]
            who = seller or job or (max(visits)[2] if visits else None)
            known = "estimate" if seller else "job" if job else "appointment" if visits else None
            total = Decimal(str(estimate["subtotal"])) + Decimal(str(estimate["tax"]))
            expected.append((estimate["id"], who, names.get(who), known, total))
    query = (
        "SELECT estimate_id, technician_id, technician, technician_from, total FROM report_open_estimates ORDER BY 1"
    )
    found = acme.rows(query)
    assert found == sorted(expected)
    assert {row[3] for row in found} == {"estimate", "job", "appointment", None}
    assert next(row[1:4] for row in found if row[0] == office) == (77, None, "estimate")


def test_jobs_by_status_and_day_are_the_sources(synced_acme: Acme):
    acme = synced_acme
    acme.source.advance(created={"jobs": 3}, changed={"jobs": 6, "appointments": 4}, deleted={"jobs": 2})
    acme.sync(incremental_only=False)
    starts = {visit["id"]: visit["start"][:10] for visit in records(acme, "appointments")}
    expected: dict[tuple[date, str], Decimal] = defaultdict(Decimal)
    for job in records(acme, "jobs"):
        day = date.fromisoformat(starts[job["lastAppointmentId"]])
        expected[day, job["jobStatus"]] += Decimal(str(job["total"])) + 1
    with acme.engine.connect() as connection:
        connection.execute(text("SET TIME ZONE 'America/Los_Angeles'"))  # a day is UTC's whoever asks
        rows = connection.execute(text("SELECT day, job_status, sum(total + 1) FROM report_jobs GROUP BY 1, 2")).all()
    assert {(day, status): total for day, status, total in rows} == expected


def test_what_is_deleted_has_no_row_and_other_tenants_change_nothing(synced_acme: Acme):
    """The other tenant has every record of the first under the same ids."""
    acme = synced_acme
    before = everything(acme)
    acme.execute("INSERT INTO companies (slug, name) VALUES ('other', 'Other')")
    acme.execute(
        "INSERT INTO servicetitan_credentials (company_id, environment, tenant_id, client_id, client_secret) "
        "SELECT id, 'integration', 9, '', '' FROM companies WHERE slug = 'other'"
    )
    for spec in ENTITIES.values():
        acme.execute(
            f"CREATE TABLE copied AS SELECT * FROM {spec.table}; "  # noqa: S608
            "UPDATE copied SET credential_id = (SELECT max(id) FROM servicetitan_credentials); "
            f"INSERT INTO {spec.table} SELECT * FROM copied; DROP TABLE copied"
        )
    assert everything(acme) == before
    others = "SELECT DISTINCT tenant, company, environment FROM {} WHERE tenant <> 'acme'"
    found = [acme.rows(others.format(view)) for view in VIEWS]
    assert found == [[("other@integration", "other", "integration")]] * len(VIEWS)
    for entity, view in zip(("invoices", "customers", "estimates", "jobs"), VIEWS, strict=True):
        acme.execute(f"UPDATE st_{entity} SET deleted_at = now()")  # noqa: S608
        assert acme.value(f"SELECT count(*) FROM {view}") == 0  # noqa: S608
