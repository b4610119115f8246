"""Every fault on demand, exactly when its rule says."""

import time
from collections.abc import Callable

import httpx
import pytest

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.control import SimulatorError
from st_pipeline_tests.simulator.independent_client import IndependentClient, ids


def statuses(client: IndependentClient, count: int, entity: str = "customers") -> list[int]:
    return [client.list(entity).status_code for _ in range(count)]


@pytest.mark.parametrize(("body", "start"), [("json", b'{"type"'), ("html", b"<!DOCTYPE"), ("empty", b"")])
def test_a_status_can_come_with_json_html_or_nothing(small: Callable[..., IndependentClient], body: str, start: bytes):
    client = small()
    client.tenant.fault("status", status=502, body=body)
    answer = client.list("customers")
    assert answer.status_code == 502
    assert answer.content.startswith(start)
    assert bool(answer.content) is bool(start)


def test_a_rule_applies_every_nth_time_after_some_requests_and_only_so_often(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("status", status=500, every_nth=2, after_requests=1, times=2)
    assert statuses(client, 8) == [200, 200, 500, 200, 500, 200, 200, 200]
    rule = client.tenant.faults()[0]
    assert (rule["struck"], rule["kind"]) == (2, "status")


def test_a_rule_by_chance_is_the_same_for_the_same_seed(small: Callable[..., IndependentClient]):
    runs = []
    for _ in range(2):
        client = small()
        client.tenant.fault("status", probability=0.4, seed=11)
        runs.append(statuses(client, 30))
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


def test_a_rule_can_be_for_one_entity_or_one_part_of_an_address(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("status", entity="invoices")
    client.tenant.fault("status", path="/export/", status=504)
    assert statuses(client, 1) == [200]
    assert statuses(client, 1, "invoices") == [503]
    assert client.feed("customers").status_code == 504
    client.tenant.clear_faults()
    assert statuses(client, 1, "invoices") == [200]


@pytest.mark.parametrize("header", [True, False])
def test_a_429_says_the_wait_in_its_title_and_sometimes_in_a_header(
    small: Callable[..., IndependentClient], header: bool
):
    client = small()
    client.tenant.fault("429", wait_seconds=50, header=header)
    answer = client.list("customers")
    assert answer.status_code == 429
    assert answer.json() == {"status": 429, "title": "Rate limit is exceeded. Try again in 50 seconds."}
    assert answer.headers.get("retry-after") == ("50" if header else None)


def test_the_header_is_a_setting_as_well(small: Callable[..., IndependentClient]):
    client = small(settings={"retry_after_header": True})
    client.tenant.fault("429", wait_seconds=7)
    assert client.list("customers").headers["retry-after"] == "7"


def test_the_token_endpoint_can_be_throttled(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("429", entity="token", times=1)
    assert [client.token().status_code for _ in range(2)] == [429, 200]
    assert client.list("customers").status_code == 200


def test_a_truncated_gzip_body_arrives_as_a_whole_answer_that_cannot_be_read(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("cut_body", times=1)
    answer = client.list("customers")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()
    assert client.list("customers").json()["data"]


def test_a_connection_can_close_within_a_body(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("cut_body", how="close", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        client.list("customers")
    assert client.list("customers").status_code == 200


def test_a_connection_can_drop_before_any_answer(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("drop_connection", times=1)
    with pytest.raises(httpx.TransportError):
        client.list("customers")
    assert client.list("customers").status_code == 200


def test_an_answer_can_be_slow_while_others_are_not(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("slow", seconds=0.4, entity="customers", times=1)
    began = time.monotonic()
    client.list("invoices")
    assert time.monotonic() - began < 0.3
    began = time.monotonic()
    assert client.list("customers").status_code == 200
    assert time.monotonic() - began >= 0.4


def test_a_rule_more_leaves_the_counts_of_the_others(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("status", status=500, times=1)
    assert statuses(client, 1) == [500]
    client.tenant.fault("status", status=504, times=1)
    assert statuses(client, 2) == [504, 200]


def test_a_dropped_connection_stays_dropped_whatever_else_is_set(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("drop_connection", times=1)
    client.tenant.fault("cut_body", times=1)
    with pytest.raises(httpx.TransportError):
        client.list("customers")
    assert client.list("customers").status_code == 200


@pytest.mark.parametrize("kind", ["html_200", "not_json"])
def test_a_200_can_be_no_json(small: Callable[..., IndependentClient], kind: str):
    client = small()
    client.tenant.fault(kind)
    answer = client.list("customers")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()


def test_tokens_can_be_revoked_between_two_pages(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("revoke_tokens", after_requests=2)
    assert statuses(client, 4) == [200, 200, 401, 401]
    client.log_in()
    assert statuses(client, 3) == [200, 200, 200]


def test_a_rate_limit_can_be_set_lower(small: Callable[..., IndependentClient]):
    client = small()
    client.tenant.fault("rate_limit", per_second=5, header=True)
    answers = [client.list("customers", pageSize=1) for _ in range(12)]
    assert [answer.status_code for answer in answers[:6]] == [200] * 5 + [429]
    assert answers[5].headers["retry-after"] == "1"


def test_a_stored_export_token_can_be_rejected_while_dates_work(small: Callable[..., IndependentClient]):
    client = small()
    token = client.feed("customers").json()["continueFrom"]
    client.tenant.fault("reject_export_token", times=1)
    assert client.feed("customers").status_code == 200
    answer = client.feed("customers", from_=token)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["from"])
    assert client.feed("customers", from_=token).status_code == 200


def test_a_page_can_repeat_the_one_before(small: Callable[..., IndependentClient]):
    client = small(settings={"export_page_size": 20})
    client.tenant.fault("repeat_page", times=2)
    first, second = (client.list("customers", pageSize=10, page=page) for page in (1, 2))
    assert (ids(second), second.json()["page"]) == (ids(first), 2)
    start = client.feed("customers").json()
    stuck = client.feed("customers", from_=start["continueFrom"]).json()
    assert (stuck["data"], stuck["hasMore"], stuck["continueFrom"]) == (start["data"], True, start["continueFrom"])
    assert client.feed("customers", from_=start["continueFrom"]).json()["data"] != start["data"]


def test_rows_can_change_between_pages(small: Callable[..., IndependentClient]):
    client = small(customers=200)
    whole = ids(client.list("customers", pageSize=5000))
    client.tenant.fault("row_changes_between_pages", rows=4)
    walked = [r["id"] for r in client.walk_list("customers", active="True", pageSize=20)]
    assert walked != whole
    assert set(whole) - set(walked) or len(walked) > len(set(walked))


@pytest.mark.parametrize("kind", ["nulls", "enums", "extra_keys"])
@pytest.mark.parametrize("served", ["list", "feed"])
def test_records_can_break_the_contract_while_the_truth_stays(
    small: Callable[..., IndependentClient], kind: str, served: str
):
    client = small()
    before = client.tenant.truth()["invoices"]
    client.tenant.fault(kind, entity="invoices", rate=0.5)
    answer = getattr(client, served)("invoices", **({"pageSize": 5000} if served == "list" else {}))
    entry = catalogue_entries()["invoices"]
    surprising = {
        "nulls": lambda record: any(record[f.name] is None for f in entry.fields if not f.nullable),
        "enums": lambda record: "AddedWithoutNotice" in record.values(),
        "extra_keys": lambda record: "aiSummary" in record,
    }[kind]
    struck = sum(map(surprising, answer.json()["data"]))
    assert 0.25 < struck / len(answer.json()["data"]) < 0.75
    assert client.tenant.truth()["invoices"] == before


@pytest.mark.parametrize(
    ("settings", "shows"),
    [
        ({"server_error_rate": 1.0}, lambda answer: answer.status_code in (500, 502, 503, 504)),
        ({"html_rate": 1.0}, lambda answer: answer.content.startswith(b"<!DOCTYPE")),
        ({"slow_rate": 1.0, "slow_seconds": 0.05}, lambda answer: answer.elapsed.total_seconds() >= 0.05),
        ({"extra_key_rate": 1.0}, lambda answer: all("aiSummary" in r for r in answer.json()["data"])),
        ({"enum_rate": 1.0}, lambda answer: "AddedWithoutNotice" in answer.text),
        (
            {"null_rate": 1.0},
            lambda answer: any(r["active"] is None or r["name"] is None for r in answer.json()["data"]),
        ),
    ],
)
def test_faults_can_be_on_as_a_matter_of_settings(
    small: Callable[..., IndependentClient], settings: dict, shows: Callable
):
    client = small()
    calm = client.list("customers")
    client.tenant.settings(**settings)
    answers = [client.list("customers") for _ in range(12)]
    assert not shows(calm)
    assert any(map(shows, answers))


def test_a_wrong_rule_is_refused_by_name(small: Callable[..., IndependentClient]):
    client = small()
    with pytest.raises(SimulatorError, match="every_third"):
        client.tenant.fault("status", every_third=3)
    with pytest.raises(SimulatorError, match="explode"):
        client.tenant.fault("explode")
