"""List endpoints: paging, sorting, what is on by default, what is refused."""

from collections.abc import Callable
from itertools import chain

import httpx
import pytest

from st_pipeline_tests.simulator.independent_client import DETAILS, NEEDED, PATHS, IndependentClient, ids

SIX_KEYS = ["type", "title", "status", "traceId", "errors", "data"]


def refusal(response: httpx.Response, parameter: str) -> str:
    """The message of a 400 about one parameter."""
    assert response.status_code == 400
    body = response.json()
    assert list(body) == SIX_KEYS
    assert list(body["errors"]) == [parameter]
    return str(body["errors"][parameter][0])


@pytest.mark.parametrize("entity", PATHS)
def test_a_page_has_the_envelope_in_order(company: IndependentClient, entity: str):
    params = {**NEEDED[entity], "page": 1, "pageSize": 50} if entity in NEEDED else {}
    body = company.list(entity, **params).json()
    assert list(body) == ["page", "pageSize", "hasMore", "totalCount", "data"]
    assert (body["page"], body["pageSize"], body["totalCount"]) == (1, 50, None)
    assert body["data"]


def test_total_is_counted_only_when_asked(company: IndependentClient):
    body = company.list("customers", includeTotal="true", pageSize=1).json()
    assert body["totalCount"] == company.tenant.truth()["customers"]["active"]
    assert company.list("customers", includeTotal="false").json()["totalCount"] is None


def test_pages_partition_the_list_and_the_last_says_so(company: IndependentClient):
    whole = ids(company.list("customers", active="Any", pageSize=5000))
    pages = [ids(company.list("customers", active="Any", pageSize=150, page=page)) for page in (1, 2, 3, 4)]
    assert list(chain(*pages)) == whole
    assert [len(page) for page in pages] == [150, 150, 100, 0]
    more = [company.list("customers", active="Any", pageSize=150, page=page).json()["hasMore"] for page in (1, 2, 3, 4)]
    assert more == [True, True, False, False]
    assert company.list("customers", active="Any", pageSize=200, page=2).json()["hasMore"] is False


def test_a_page_size_over_the_maximum_is_refused_or_clamped(small: Callable[..., IndependentClient]):
    client = small()
    refusal(client.list("customers", pageSize=5001), "pageSize")
    client.tenant.settings(page_size_over_maximum="clamp")
    assert client.list("customers", pageSize=9999).json()["pageSize"] == 5000


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("page", "one"),
        ("page", "-1"),
        ("pageSize", "0"),
        ("pageSize", "3000000000"),
        ("includeTotal", "yes"),
        ("active", "Sometimes"),
        ("modifiedOnOrAfter", "yesterday"),
        ("createdBefore", "2026-13-01"),
        ("ids", "12,abc"),
        ("latitude", "north"),
        ("externalDataApplicationGuid", "not-a-guid"),
    ],
)
def test_a_known_parameter_with_a_malformed_value_is_a_400(company: IndependentClient, parameter: str, value: str):
    refusal(company.list("customers", **{parameter: value}), parameter)


def test_unknown_parameters_are_ignored(company: IndependentClient):
    everything = ids(company.list("customers", pageSize=5000))
    assert ids(company.list("customers", pageSize=5000, phoneNumber="5", status="x", modifiedAfter="?")) == everything


def test_page_zero_is_the_first_page_except_for_custom_fields(company: IndependentClient):
    assert ids(company.list("customers", page=0)) == ids(company.list("customers", page=1))
    lists = [entity for entity in PATHS if entity.startswith("custom_fields")]
    assert {company.list(entity, page=0, pageSize=50, descending="true").status_code for entity in lists} == {400}


def test_lists_show_active_records_only_unless_asked(company: IndependentClient):
    truth = company.tenant.truth()["customers"]
    active, inactive, both = (ids(company.list("customers", active=a, pageSize=5000)) for a in ("True", "False", "Any"))
    assert ids(company.list("customers", pageSize=5000)) == active
    assert (len(active), len(both)) == (truth["active"], truth["live"])
    assert set(active).isdisjoint(inactive)
    assert sorted(active + inactive) == both


def test_invoices_obey_active_state_and_ignore_active(company: IndependentClient):
    everything = ids(company.list("invoices", pageSize=5000))
    active, inactive, both = (
        ids(company.list("invoices", activeState=state, pageSize=5000))
        for state in ("ActiveOnly", "InactiveOnly", "All")
    )
    assert everything == both
    assert sorted(active + inactive) == both
    assert inactive
    assert ids(company.list("invoices", active="True", pageSize=5000)) == both


def test_payments_show_active_ones_only_unless_asked(company: IndependentClient):
    truth = company.tenant.truth("payments")["payments"]
    assert len(ids(company.list("payments", pageSize=5000))) == truth["active"] < truth["live"]
    assert len(ids(company.list("payments", pageSize=5000, activeState="All"))) == truth["live"]
    assert len(ids(company.list("payments", pageSize=5000, active="Any"))) == truth["active"]  # unknown: ignored


def test_jobs_have_no_active_filter(company: IndependentClient):
    everything = ids(company.list("jobs", pageSize=5000))
    assert len(everything) == company.tenant.truth("jobs")["jobs"]["live"]
    assert ids(company.list("jobs", pageSize=5000, active="False", activeState="InactiveOnly")) == everything


def test_the_invoice_default_can_be_active_only(small: Callable[..., IndependentClient]):
    client = small(invoices=400, settings={"invoices_active_state_default": "ActiveOnly"})
    default = ids(client.list("invoices", pageSize=5000))
    assert default == ids(client.list("invoices", activeState="ActiveOnly", pageSize=5000))
    assert len(default) < len(ids(client.list("invoices", activeState="All", pageSize=5000)))


def test_fifty_ids_are_looked_up_and_fifty_one_refused(company: IndependentClient):
    wanted = company.tenant.ids("invoices")[:51]
    assert ids(company.list("invoices", ids=",".join(map(str, wanted[:50])))) == wanted[:50]
    refusal(company.list("invoices", ids=",".join(map(str, wanted))), "ids")
    assert ids(company.list("invoices", ids="1,2,3")) == []


def test_sort_goes_both_ways_and_takes_a_plus_that_arrives_as_a_space(company: IndependentClient):
    upwards = company.walk_list("customers", sort="+ModifiedOn")
    downwards = company.walk_list("customers", sort="-ModifiedOn")
    assert [r["modifiedOn"][:19] for r in upwards] == sorted(r["modifiedOn"][:19] for r in upwards)
    assert [r["modifiedOn"] for r in downwards] == [r["modifiedOn"] for r in reversed(upwards)]
    literal = company.path("crm/v2/tenant/{}/customers?active=Any&pageSize=5000&sort=+CreatedOn")
    encoded = company.path("crm/v2/tenant/{}/customers?active=Any&pageSize=5000&sort=%2BCreatedOn")
    assert ids(literal) == ids(encoded) != ids(company.list("customers", active="Any", pageSize=5000))


def test_a_sort_field_that_is_not_listed_is_refused_in_the_words_seen_live(company: IndependentClient):
    message = refusal(company.list("customers", sort="-completedOn"), "sort")
    assert message == "The value '-completedOn' is not valid for Sort."


def test_a_bare_sort_field_means_ascending_or_is_refused(small: Callable[..., IndependentClient]):
    client = small()
    assert ids(client.list("customers", sort="Id")) == ids(client.list("customers", sort="+Id"))
    client.tenant.settings(bare_sort="reject")
    refusal(client.list("customers", sort="Id"), "sort")


@pytest.mark.parametrize("entity", ["invoices", "estimates"])
def test_the_old_sort_parameters_work_where_there_are_both(company: IndependentClient, entity: str):
    new = ids(company.list(entity, sort="-CreatedOn"))
    assert ids(company.list(entity, orderBy="CreatedOn", orderByDirection="desc")) == new


def test_job_types_know_the_old_sort_parameters_only(company: IndependentClient):
    found = company.list("job_types", orderBy="modifiedOn", orderByDirection="desc").json()["data"]
    moments = [record["modifiedOn"][:19] for record in found]
    assert moments == sorted(moments, reverse=True)
    assert ids(company.list("job_types", sort="-Id")) == sorted(ids(company.list("job_types")))


@pytest.mark.parametrize(
    ("entity", "fields"),
    [
        ("jobs", ["Id", "ModifiedOn", "CreatedOn", "Priority"]),
        ("call_reasons", ["Id", "ModifiedOn", "CreatedOn"]),
        ("campaigns", ["Id", "Name", "CreatedOn", "ModifiedOn"]),
        ("appointments", ["Id", "ModifiedOn", "CreatedOn"]),
        ("equipment", ["Id", "CreatedOn", "ModifiedOn"]),
        ("custom_fields.jobs", ["Id", "Name"]),
    ],
)
def test_a_list_sorts_by_its_documented_fields_and_no_others(
    company: IndependentClient, entity: str, fields: list[str]
):
    everything = sorted(ids(company.list(entity, pageSize=5000)))
    for name in ("Id", "Name", "CreatedOn", "ModifiedOn", "Priority"):
        answer = company.list(entity, sort=f"-{name}", pageSize=5000)
        assert answer.status_code == (200 if name in fields else 400), name
        assert name not in fields or sorted(ids(answer)) == everything


def test_equipment_tells_more_by_its_id(company: IndependentClient):
    unit = company.list("equipment", pageSize=1).json()["data"][0]
    path = f"equipmentsystems/v2/tenant/{{}}/installed-equipment/{unit['id']}"
    assert company.path(path).json() == {**unit, "customFields": [], "attachments": []}


def test_contacts_of_one_location_have_their_own_address(company: IndependentClient):
    contact = company.list("location_contacts", pageSize=1, modifiedOnOrAfter="2000-01-01").json()["data"][0]
    location = contact["locationId"]
    found = company.path(f"crm/v2/tenant/{{}}/locations/{location}/contacts").json()["data"]
    assert contact in found
    assert {one["locationId"] for one in found} == {location}


def test_the_default_order_can_be_none_at_all(small: Callable[..., IndependentClient]):
    client = small(settings={"default_order": "shuffled"})
    page = ids(client.list("invoices", pageSize=100))
    assert page != sorted(page)
    assert sorted(page) == ids(client.list("invoices", pageSize=100, sort="+Id"))


@pytest.mark.parametrize(("owners", "owner_id"), [("customer", "customerId"), ("location", "locationId")])
def test_contacts_want_their_owners_or_a_time(company: IndependentClient, owners: str, owner_id: str):
    entity = f"{owners}_contacts"
    refusal(company.list(entity), f"{owner_id}s")
    refusal(company.list(entity, createdBefore="2100-01-01"), f"{owner_id}s")
    owner = company.list(entity, modifiedBefore="2100-01-01").json()["data"][0][owner_id]
    found = company.list(entity, **{f"{owner_id}s": str(owner)}).json()["data"]
    assert found
    assert {contact[owner_id] for contact in found} == {owner}


def test_contacts_of_one_customer_have_their_own_address_and_inactive_customers_a_409(company: IndependentClient):
    active = ids(company.list("customers", pageSize=1))[0]
    inactive = ids(company.list("customers", pageSize=1, active="False"))[0]
    body = company.path(f"crm/v2/tenant/{{}}/customers/{active}/contacts").json()
    assert {contact["customerId"] for contact in body["data"]} == {active}
    answer = company.path(f"crm/v2/tenant/{{}}/customers/{inactive}/contacts")
    assert answer.status_code == 409
    assert list(answer.json()) == SIX_KEYS
    assert answer.json()["title"] == f"Customer ID = {inactive} is not active"
    assert company.path("crm/v2/tenant/{}/customers/5/contacts").status_code == 404


@pytest.mark.parametrize("entity", DETAILS)
def test_a_record_can_be_had_by_its_id(company: IndependentClient, entity: str):
    wanted = company.tenant.ids(entity)[0]
    path = PATHS[entity].replace("{}", "{{}}", 1).format("") + f"/{wanted}"
    assert company.path(path).json() == company.tenant.record(entity, wanted)
    missing = company.path(path.replace(str(wanted), "17"))
    assert missing.status_code == 404
    assert list(missing.json()) == SIX_KEYS


def test_membership_types_show_their_parts_only_when_asked(company: IndependentClient):
    bare = company.list("membership_types").json()["data"][0]
    assert [bare[key] for key in ("durationBilling", "discounts", "recurringServices", "tagTypeIds")] == [None] * 4
    asked = company.list("membership_types", includeDurationBilling="true", includeTags="true", active="Any").json()[
        "data"
    ]
    assert all(record["durationBilling"] and record["tagTypeIds"] and record["discounts"] is None for record in asked)
    assert any(None in record["durationBilling"] for record in asked)


def test_large_answers_are_compressed_when_the_client_accepts_it(company: IndependentClient):
    plain = company.http.get(company.list("invoices").request.url, headers={"Accept-Encoding": "identity"})
    packed = company.list("invoices")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.json() == plain.json()
    assert plain.headers["content-type"] == "application/json; charset=utf-8"


def test_addresses_that_no_operation_has_get_the_gateways_two_keys(company: IndependentClient):
    for path in (
        "crm/v2/tenant/{}/estimates",
        "jpm/v2/tenant/{}/export/job-types",
        "crm/v3/tenant/{}/customers",
        "nonsense",
    ):
        answer = company.path(path)
        assert answer.status_code == 404
        assert answer.json() == {"status": 404, "title": "Unable to match incoming request to an operation"}


def test_a_wrong_method_is_a_405(company: IndependentClient):
    answer = company.http.post("/" + PATHS["customers"].format(company.tenant.tenant_id, ""))
    assert answer.status_code == 405
    assert list(answer.json()) == SIX_KEYS
