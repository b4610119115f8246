"""Which error an answer stands for, and what its message tells."""

from collections.abc import Callable

import httpx
import pytest

from st_pipeline.errors import (
    AccessRefused,
    AddressUnknown,
    PermanentApiError,
    ScopeMissing,
    ServiceUnavailable,
    TokenRefreshFailed,
    UnclearRefusal,
)
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline_tests.servicetitan.conftest import Vendor, answer, get, refusal

Make = Callable[..., ServiceTitanClient]
SCOPE = "Scope validation failed"


def test_a_missing_scope_is_named(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(refusal(403, SCOPE))
    with pytest.raises(ScopeMissing, match=r"tn\.acc\.invoices:r"):
        get(client, scope="tn.acc.invoices:r")


def test_a_missing_scope_is_known_by_its_title_whatever_else_the_body_holds(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(answer(403, {"title": SCOPE, "errors": [], "traceId": 7}))
    with pytest.raises(ScopeMissing):
        get(client)


@pytest.mark.parametrize("response", [refusal(403), answer(403, {"status": 403, "title": "No access"})])
def test_any_other_403_of_servicetitan_is_a_refusal_of_the_tenant(
    client: ServiceTitanClient, vendor: Vendor, response: httpx.Response
):
    vendor.will(response)
    with pytest.raises(AccessRefused, match=r"app key.*tenant id.*connected the app") as caught:
        get(client)
    assert caught.value.refuses_tenant


NOT_SERVICETITANS = [
    {"title": "Forbidden"}, {"title": None, "status": 403}, {"title": ["x"], "status": 403}, {"message": "Forbidden"},
    {"title": "Unauthorized", "status": 401}, [], b"", b"<html>", b"\xff",
]  # fmt: skip


@pytest.mark.parametrize("body", NOT_SERVICETITANS, ids=map(str, range(len(NOT_SERVICETITANS))))
def test_a_403_in_other_words_than_servicetitans_says_nothing_about_the_tenant(
    client: ServiceTitanClient, vendor: Vendor, body: object
):
    """A proxy or a firewall on the way would suspend every tenant it meets."""
    vendor.will(answer(403, body))
    with pytest.raises(UnclearRefusal, match="not in a form that ServiceTitan uses") as caught:
        get(client)
    assert not caught.value.refuses_tenant


@pytest.mark.parametrize(("body", "speaks"), [({"status": 401, "title": "Unauthorized"}, True), (b"<html>", False)])
def test_a_401_speaks_against_the_tenant_only_in_servicetitans_words(
    client: ServiceTitanClient, vendor: Vendor, body: object, speaks: bool
):
    vendor.will(answer(401, body), answer(401, body))
    with pytest.raises(TokenRefreshFailed) as caught:
        get(client)
    assert caught.value.refuses_tenant is speaks


def test_an_address_nobody_knows_says_what_to_check(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(answer(404, {"status": 404, "title": "Unable to match incoming request to an operation"}))
    with pytest.raises(AddressUnknown, match=r"tenant id.*connected") as caught:
        get(client)
    assert (caught.value.status, caught.value.refuses_tenant) == (404, True)


def test_a_404_in_other_words_says_nothing_about_the_tenant(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(answer(404, b"<html>"))
    with pytest.raises(PermanentApiError, match="HTTP 404") as caught:
        get(client)
    assert (caught.value.status, caught.value.refuses_tenant) == (404, False)


def test_a_bad_parameter_is_named_with_the_reason_and_the_trace(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(refusal(400, errors={"Page": ["The value 'x'\n is not valid for Page."]}))
    with pytest.raises(PermanentApiError) as caught:
        get(client)
    assert str(caught.value) == (
        "list invoices for tenant acme, page 3: HTTP 400 (trace 00-abc-def-00), it complains about "
        "Page (The value 'x' is not valid for Page.); ServiceTitan refuses this request and will refuse it again"
    )


def test_complaints_about_anything_but_our_parameters_are_not_quoted(client: ServiceTitanClient, vendor: Vendor):
    errors = {"name": ["Jane Doe of 12 Main Street"], "Jane Doe": ["x"], "page": [{"nested": "Jane"}], "a" * 60: []}
    vendor.will(refusal(400, title="Jane Doe", errors=errors))
    with pytest.raises(PermanentApiError, match=r"it complains about name, page;") as caught:
        get(client)
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize("errors", [None, [], "text", {"page": None}, {"page": []}, {"page": "x"}, {"": ["x"]}])
def test_an_error_body_of_another_shape_is_no_second_error(client: ServiceTitanClient, vendor: Vendor, errors: object):
    vendor.will(refusal(400, errors=errors))
    with pytest.raises(PermanentApiError, match="HTTP 400"):
        get(client)


def test_a_long_complaint_is_cut(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(refusal(400, errors={"page": ["y" * 10_000]}))
    with pytest.raises(PermanentApiError) as caught:
        get(client)
    assert len(str(caught.value)) < 500


def test_a_conflict_is_not_repeated_and_its_text_is_not_searched(client: ServiceTitanClient, vendor: Vendor):
    vendor.will(refusal(409, "The service is suspended for maintenance. Please try again later."))
    with pytest.raises(PermanentApiError) as caught:
        get(client)
    assert caught.value.status == 409


def test_an_odd_trace_is_left_out(make_client: Make, vendor: Vendor):
    vendor.will(refusal(500, traceId="Jane Doe\nsecond line"))
    with pytest.raises(ServiceUnavailable) as caught:
        get(make_client(max_attempts=1))
    assert "Jane" not in str(caught.value)
