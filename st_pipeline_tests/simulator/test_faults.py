"""Every fault on demand, and that it strikes exactly when it should."""

import time
from collections.abc import Callable

import httpx
import pytest

from st_pipeline.simulator.api_catalogue import catalogue_entries
from st_pipeline.simulator.control import SimulatorError
from st_pipeline_tests.simulator.stranger import Stranger, ids


def statuses(stranger: Stranger, count: int, entity: str = "customers") -> list[int]:
    return [stranger.list(entity).status_code for _ in range(count)]


@pytest.mark.parametrize(("body", "start"), [("json", b'{"type"'), ("html", b"<!DOCTYPE"), ("empty", b"")])
def test_a_status_can_come_with_json_html_or_nothing(small: Callable[..., Stranger], body: str, start: bytes):
    stranger = small()
    stranger.tenant.fault("status", status=502, body=body)
    answer = stranger.list("customers")
    assert answer.status_code == 502
    assert answer.content.startswith(start)
    assert bool(answer.content) is bool(start)


def test_a_rule_strikes_every_nth_time_after_some_requests_and_only_so_often(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("status", status=500, every_nth=2, after_requests=1, times=2)
    assert statuses(stranger, 8) == [200, 200, 500, 200, 500, 200, 200, 200]
    rule = stranger.tenant.faults()[0]
    assert (rule["struck"], rule["kind"]) == (2, "status")


def test_a_rule_by_chance_is_the_same_for_the_same_seed(small: Callable[..., Stranger]):
    runs = []
    for _ in range(2):
        stranger = small()
        stranger.tenant.fault("status", probability=0.4, seed=11)
        runs.append(statuses(stranger, 30))
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 503}


def test_a_rule_can_be_for_one_entity_or_one_part_of_an_address(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("status", entity="invoices")
    stranger.tenant.fault("status", path="/export/", status=504)
    assert statuses(stranger, 1) == [200]
    assert statuses(stranger, 1, "invoices") == [503]
    assert stranger.feed("customers").status_code == 504
    stranger.tenant.clear_faults()
    assert statuses(stranger, 1, "invoices") == [200]


@pytest.mark.parametrize("header", [True, False])
def test_a_429_says_the_wait_in_its_title_and_sometimes_in_a_header(small: Callable[..., Stranger], header: bool):
    stranger = small()
    stranger.tenant.fault("429", wait_seconds=50, header=header)
    answer = stranger.list("customers")
    assert answer.status_code == 429
    assert answer.json() == {"status": 429, "title": "Rate limit is exceeded. Try again in 50 seconds."}
    assert answer.headers.get("retry-after") == ("50" if header else None)


def test_the_header_is_a_setting_as_well(small: Callable[..., Stranger]):
    stranger = small(settings={"retry_after_header": True})
    stranger.tenant.fault("429", wait_seconds=7)
    assert stranger.list("customers").headers["retry-after"] == "7"


def test_the_token_endpoint_can_be_throttled(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("429", entity="token", times=1)
    assert [stranger.token().status_code for _ in range(2)] == [429, 200]
    assert stranger.list("customers").status_code == 200


def test_a_truncated_gzip_body_arrives_as_a_whole_answer_that_cannot_be_read(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("cut_body", times=1)
    answer = stranger.list("customers")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()
    assert stranger.list("customers").json()["data"]


def test_a_connection_can_close_within_a_body(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("cut_body", how="close", times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        stranger.list("customers")
    assert stranger.list("customers").status_code == 200


def test_a_connection_can_drop_before_any_answer(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("drop_connection", times=1)
    with pytest.raises(httpx.TransportError):
        stranger.list("customers")
    assert stranger.list("customers").status_code == 200


def test_an_answer_can_be_slow_while_others_are_not(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("slow", seconds=0.4, entity="customers", times=1)
    began = time.monotonic()
    stranger.list("invoices")
    assert time.monotonic() - began < 0.3
    began = time.monotonic()
    assert stranger.list("customers").status_code == 200
    assert time.monotonic() - began >= 0.4


def test_a_rule_more_leaves_the_counts_of_the_others(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("status", status=500, times=1)
    assert statuses(stranger, 1) == [500]
    stranger.tenant.fault("status", status=504, times=1)
    assert statuses(stranger, 2) == [504, 200]


def test_a_dropped_connection_stays_dropped_whatever_else_is_set(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("drop_connection", times=1)
    stranger.tenant.fault("cut_body", times=1)
    with pytest.raises(httpx.TransportError):
        stranger.list("customers")
    assert stranger.list("customers").status_code == 200


@pytest.mark.parametrize("kind", ["html_200", "not_json"])
def test_a_200_can_be_no_json(small: Callable[..., Stranger], kind: str):
    stranger = small()
    stranger.tenant.fault(kind)
    answer = stranger.list("customers")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        answer.json()


def test_tokens_can_be_revoked_between_two_pages(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("revoke_tokens", after_requests=2)
    assert statuses(stranger, 4) == [200, 200, 401, 401]
    stranger.log_in()
    assert statuses(stranger, 3) == [200, 200, 200]


def test_a_rate_limit_can_be_set_lower(small: Callable[..., Stranger]):
    stranger = small()
    stranger.tenant.fault("rate_limit", per_second=5, header=True)
    answers = [stranger.list("customers", pageSize=1) for _ in range(12)]
    assert [answer.status_code for answer in answers[:6]] == [200] * 5 + [429]
    assert answers[5].headers["retry-after"] == "1"


def test_a_stored_export_token_can_be_rejected_while_dates_work(small: Callable[..., Stranger]):
    stranger = small()
    token = stranger.feed("customers").json()["continueFrom"]
    stranger.tenant.fault("reject_export_token", times=1)
    assert stranger.feed("customers").status_code == 200
    answer = stranger.feed("customers", from_=token)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["from"])
    assert stranger.feed("customers", from_=token).status_code == 200


def test_a_page_can_repeat_the_one_before(small: Callable[..., Stranger]):
    stranger = small(settings={"export_page_size": 20})
    stranger.tenant.fault("repeat_page", times=2)
    first, second = (stranger.list("customers", pageSize=10, page=page) for page in (1, 2))
    assert (ids(second), second.json()["page"]) == (ids(first), 2)
    start = stranger.feed("customers").json()
    stuck = stranger.feed("customers", from_=start["continueFrom"]).json()
    assert (stuck["data"], stuck["hasMore"], stuck["continueFrom"]) == (start["data"], True, start["continueFrom"])
    assert stranger.feed("customers", from_=start["continueFrom"]).json()["data"] != start["data"]


def test_rows_can_change_between_pages(small: Callable[..., Stranger]):
    stranger = small(customers=200)
    whole = ids(stranger.list("customers", pageSize=5000))
    stranger.tenant.fault("row_changes_between_pages", rows=4)
    walked = [r["id"] for r in stranger.walk_list("customers", active="True", pageSize=20)]
    assert walked != whole
    assert set(whole) - set(walked) or len(walked) > len(set(walked))


@pytest.mark.parametrize("kind", ["nulls", "enums", "extra_keys"])
@pytest.mark.parametrize("served", ["list", "feed"])
def test_records_can_break_the_contract_while_the_truth_stays(small: Callable[..., Stranger], kind: str, served: str):
    stranger = small()
    before = stranger.tenant.truth()["invoices"]
    stranger.tenant.fault(kind, entity="invoices", rate=0.5)
    answer = getattr(stranger, served)("invoices", **({"pageSize": 5000} if served == "list" else {}))
    entry = catalogue_entries()["invoices"]
    surprising = {
        "nulls": lambda record: any(record[f.name] is None for f in entry.fields if not f.nullable),
        "enums": lambda record: "AddedWithoutNotice" in record.values(),
        "extra_keys": lambda record: "aiSummary" in record,
    }[kind]
    struck = sum(map(surprising, answer.json()["data"]))
    assert 0.25 < struck / len(answer.json()["data"]) < 0.75
    assert stranger.tenant.truth()["invoices"] == before


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
def test_faults_can_be_on_as_a_matter_of_settings(small: Callable[..., Stranger], settings: dict, shows: Callable):
    stranger = small()
    calm = stranger.list("customers")
    stranger.tenant.settings(**settings)
    answers = [stranger.list("customers") for _ in range(12)]
    assert not shows(calm)
    assert any(map(shows, answers))


def test_a_wrong_rule_is_refused_by_name(small: Callable[..., Stranger]):
    stranger = small()
    with pytest.raises(SimulatorError, match="every_third"):
        stranger.tenant.fault("status", every_third=3)
    with pytest.raises(SimulatorError, match="explode"):
        stranger.tenant.fault("explode")
