"""members_stream: what a record is made of, and what renews it."""

from typing import Any

import pytest

from st_pipeline_tests.streams.conftest import Watched


def contact(acme: Watched, customer_id: int, kind: str, value: str, **changes: Any) -> int:
    """Add a contact of a customer."""
    like = acme.source.ids("customer_contacts")[0]
    record = {"customerId": customer_id, "type": kind, "value": value, "active": True, **changes}
    return acme.add("customer_contacts", like, **record)


def membership(acme: Watched, customer_id: int, **changes: Any) -> int:
    """Add a membership of a customer."""
    like = acme.source.ids("memberships")[0]
    return acme.add("memberships", like, **{"customerId": customer_id, "status": "Active", "active": True, **changes})


def without_belongings(acme: Watched) -> int:
    """A new customer, who has neither contacts nor memberships."""
    return acme.add("customers", acme.customer(), name="Jane Roe", type="Residential")


def test_every_customer_has_a_record_that_leads_back_to_its_sync(acme: Watched):
    records = acme.records("members_stream")
    assert set(records) == {str(st_id) for st_id in acme.source.ids("customers")}
    sync_ids = {str(sync_id) for (sync_id,) in acme.rows("SELECT sync_id FROM servicetitan_sync_logs")}
    assert {record["hub_plus_import_id"] for record in records.values()} == sync_ids
    common = {(record["tenant"], record["trade"], record["software"]) for record in records.values()}
    assert common == {("ACME-1", "hvac", "ServiceTitan")}


def test_name_and_address_are_the_customers(acme: Watched):
    customer = acme.customer()
    address = {"street": "12 Oak St", "unit": "Apt 3", "city": "Duluth", "state": "MN", "zip": "55802"}
    acme.source.patch("customers", customer, {"name": "Smith, John", "type": "Residential", "address": address})
    acme.sync()
    record = acme.member(customer)
    assert (record["customer_name"], record["customer_first_name"], record["customer_last_name"]) == (
        "Smith, John",
        "John",
        "Smith",
    )
    assert (record["customer_address"], record["customer_city"]) == ("12 Oak St, Apt 3", "Duluth")
    assert (record["customer_state"], record["customer_zip"]) == ("MN", "55802")


def test_a_commercial_customers_name_stays_whole(acme: Watched):
    customer = acme.customer()
    acme.source.patch("customers", customer, {"name": "John Smith", "type": "Commercial"})
    acme.sync()
    record = acme.member(customer)
    assert (record["customer_first_name"], record["customer_last_name"]) == (None, "John Smith")


def test_a_changed_contact_renews_the_record_of_a_customer_that_did_not_change(acme: Watched):
    customer = without_belongings(acme)
    landline = contact(acme, customer, "Phone", "218-555-0101")
    acme.sync()
    assert acme.member(customer)["customer_phone_number_primary"] == "218-555-0101"
    acme.source.patch("customer_contacts", landline, {"value": "218-555-0102"})
    acme.sync()
    record = acme.member(customer)
    assert (record["customer_phone_number_primary"], record["version"]) == ("218-555-0102", 2)


def test_a_mobile_comes_before_a_landline_and_what_is_inactive_does_not_count(acme: Watched):
    customer = without_belongings(acme)
    contact(acme, customer, "Phone", "218-555-0101")
    mobile = contact(acme, customer, "MobilePhone", "218-555-0103")
    first = contact(acme, customer, "Email", "first@example.com")
    contact(acme, customer, "Email", "second@example.com")
    contact(acme, customer, "Fax", "218-555-0109")
    acme.sync()
    record = acme.member(customer)
    assert record["customer_phone_number_primary"] == "218-555-0103"
    assert record["customer_email_primary"] == "first@example.com"
    acme.source.patch("customer_contacts", mobile, {"active": False})
    acme.source.delete("customer_contacts", first)
    acme.sync()
    record = acme.member(customer)
    assert record["customer_phone_number_primary"] == "218-555-0101"
    assert record["customer_email_primary"] == "second@example.com"


def test_a_contact_that_moves_to_another_customer_renews_both(acme: Watched):
    one = without_belongings(acme)
    other = acme.add("customers", one, name="John Doe")
    mobile = contact(acme, one, "MobilePhone", "218-555-0103")
    acme.sync()
    acme.source.patch("customer_contacts", mobile, {"customerId": other})
    acme.sync()
    assert acme.member(one)["customer_phone_number_primary"] is None
    assert acme.member(other)["customer_phone_number_primary"] == "218-555-0103"


@pytest.mark.parametrize(
    ("status", "is_active"),
    [("Active", True), ("Expired", False), ("Suspended", False), ("Canceled", False), ("Deleted", False)],
)
def test_the_status_says_who_is_a_member_and_not_the_active_flag(acme: Watched, status: str, is_active: bool):
    customer = without_belongings(acme)
    membership(acme, customer, status=status, active=not is_active)
    acme.sync()
    assert acme.member(customer)["active_member"] is is_active


def test_a_membership_that_ends_renews_the_member(acme: Watched):
    customer = without_belongings(acme)
    held = membership(acme, customer, **{"from": "2025-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"})
    acme.sync()
    before = acme.member(customer)
    acme.source.patch("memberships", held, {"status": "Expired"})
    acme.sync()
    after = acme.member(customer)
    assert (before["active_member"], after["active_member"]) == (True, False)
    assert str(after["membership_start"]) == "2025-03-01"
    assert str(after["membership_end"]) == "2026-03-01"
    assert after["membership_type"] == before["membership_type"] is not None


def test_of_several_memberships_an_active_one_counts_then_the_one_that_ends_last(acme: Watched):
    customer = without_belongings(acme)
    days = {"from": "2024-01-01T00:00:00Z", "to": "2031-01-01T00:00:00Z"}
    membership(acme, customer, status="Expired", **days)
    membership(acme, customer, status="Active", **{**days, "to": "2027-01-01T00:00:00Z"})
    endless = membership(acme, customer, status="Active", **{**days, "to": None})
    acme.sync()
    assert acme.member(customer)["membership_end"] is None
    acme.source.delete("memberships", endless)
    acme.sync()
    assert str(acme.member(customer)["membership_end"]) == "2027-01-01"


def test_a_membership_type_with_another_name_renews_those_who_hold_it(acme: Watched):
    customer = without_belongings(acme)
    kind = acme.source.ids("membership_types")[0]
    membership(acme, customer, membershipTypeId=kind)
    acme.sync()
    acme.source.patch("membership_types", kind, {"displayName": "Comfort Club"})
    acme.sync()
    assert acme.member(customer)["membership_type"] == "Comfort Club"


def test_a_merged_customer_leads_to_the_one_that_survived_along_a_chain(acme: Watched):
    first = without_belongings(acme)
    second, third = (acme.add("customers", first, name=name) for name in ("John Doe", "Mary Major"))
    contact(acme, first, "MobilePhone", "218-555-0103")
    membership(acme, first)
    acme.source.patch("customers", first, {"mergedToId": second, "active": False})
    acme.sync()
    assert acme.member(second)["customer_phone_number_primary"] == "218-555-0103"
    acme.source.patch("customers", second, {"mergedToId": third, "active": False})
    acme.sync()
    for merged in (first, second):
        record = acme.member(merged)
        assert (record["still_exists"], record["merged_to_customer_id"]) == (False, str(third))
        assert (record["active_member"], record["customer_phone_number_primary"]) == (False, None)
    survivor = acme.member(third)
    assert (survivor["still_exists"], survivor["merged_to_customer_id"]) == (True, None)
    assert (survivor["active_member"], survivor["customer_phone_number_primary"]) == (True, "218-555-0103")


def test_a_contact_of_a_merged_customer_renews_the_one_that_survived(acme: Watched):
    merged = without_belongings(acme)
    survivor = acme.add("customers", merged, name="John Doe")
    acme.source.patch("customers", merged, {"mergedToId": survivor, "active": False})
    acme.sync()
    contact(acme, merged, "Email", "late@example.com")
    acme.sync()
    assert acme.member(survivor)["customer_email_primary"] == "late@example.com"


def test_a_circle_of_merges_leaves_each_customer_to_itself(acme: Watched):
    one = without_belongings(acme)
    other = acme.add("customers", one, mergedToId=one)
    acme.source.patch("customers", one, {"mergedToId": other})
    acme.sync()
    assert [acme.member(st_id)["merged_to_customer_id"] for st_id in (one, other)] == [None, None]


def test_a_deleted_customer_is_marked_and_not_dropped(acme: Watched):
    customer = acme.customer()
    acme.source.delete("customers", customer)
    acme.sync()
    assert acme.member(customer)["still_exists"] is False


def test_a_change_that_no_column_shows_renews_nothing(acme: Watched):
    customer = acme.customer()
    acme.source.patch("customers", customer, {"balance": 123.45})
    counts = acme.outcome("members_stream").result.counts
    assert (counts.processed, acme.member(customer)["version"]) == (0, 1)
