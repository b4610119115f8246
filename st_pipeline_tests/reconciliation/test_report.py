"""The page for a manager: the verdict first, by itself, and nothing in it that a browser would run or fetch."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from st_pipeline.reconciliation.documents import summary
from st_pipeline.reconciliation.report import page

AT = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)
ASKED = {"entities": [], "from": None, "to": None, "deep": False, "repair": False}


def month(name: str, here: str, there: str) -> dict[str, Any]:
    """A month with one more record there when the sums differ."""
    differs = here != there
    amounts = {"total": {"here": here, "there": there}}
    return {
        "month": name,
        "records_here": 7,
        "records_there": 7 + differs,
        "is_read": False,
        "differs": differs,
        "amounts": amounts,
    }


def entity(name: str, verdict: str, **changed: Any) -> dict[str, Any]:
    """An entity as it is kept."""
    nothing = dict.fromkeys(("missing", "gone", "different", "repaired", "left", "recent", "rejected"), 0)
    return {
        "entity": name,
        "verdict": verdict,
        "compared": "totals",
        "here": 12_345,
        "there": 12_345,
        "requests": 4,
        "bytes": 2_000,
        "notes": [],
        "error": None,
        "differences": [],
        "months": [],
        **nothing,
        **changed,
    }


def tenant(company: str, verdict: str, *entities: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """A tenant as it is kept."""
    of = {"tenant": company.lower(), "company": company, "verdict": verdict, "entities": list(entities)}
    return {**of, "started_at": AT, "ended_at": AT, "asked": ASKED, "error": None, **changed}


MISSING = {"id": 4711, "kind": "missing here", "fields": [], "is_left": True}
WRONG = tenant(
    "Bolt",
    "differs",
    entity(
        "invoices",
        "differs",
        missing=1,
        left=1,
        differences=[MISSING],
        months=[month("2026-01", "100.00", "100.00"), month("2026-02", "1250000.50", "1250000.75")],
    ),
)
RIGHT = tenant("Acme", "equal", entity("customers", "equal"))


def text_of(html: str) -> str:
    """What a reader sees, without styles."""
    seen: list[str] = []
    parser = HTMLParser()
    parser.handle_data = seen.append  # type: ignore[method-assign]
    parser.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return " ".join(" ".join(seen).split())


def test_the_verdict_comes_first_then_the_company_that_differs():
    said = text_of(page(summary([RIGHT, WRONG]), made_at=AT))
    assert said.index("1 record of 1 company differs from ServiceTitan.") < said.index("Bolt") < said.index("Acme")
    assert "4711 missing here" in said
    assert "2026-02 7 8 1,250,000.50 1,250,000.75" in said
    assert "2026-01 7" not in said  # a month that agrees has its bars only
    assert "Not proven:" in said


@pytest.mark.parametrize(
    ("verdict", "headline"),
    [
        ("equal", "Everything that was compared equals ServiceTitan."),
        ("repaired", "They were fetched again"),
        ("incomplete", "not everything could be compared"),
    ],
)
def test_each_verdict_has_its_sentence(verdict: str, headline: str):
    assert headline in text_of(page(summary([tenant("Acme", verdict, entity("customers", verdict))]), made_at=AT))


def test_the_page_is_whole_by_itself_and_runs_nothing():
    html = page(summary([RIGHT, WRONG]), made_at=AT)
    assert not re.search(r"<script|<link|<img|@import|url\(|https?://", html)
    assert html.count("<svg") == 1
    assert html.count('fill="#b8c7dd"') == 2  # a bar a month


def test_what_comes_from_outside_is_text_and_no_markup():
    """Company names and values are the source's; they cannot put anything into the page."""
    planted = "<script>alert(1)</script>"
    values = {"name": {"here": planted, "there": '"><img src=x>'}}
    different = {**MISSING, "kind": "different", "fields": ["name"], "values": values}
    wrong = tenant(planted, "differs", entity("customers", "differs", different=1, left=1, differences=[different]))
    html = page(summary([wrong | {"tenant": "acme", "error": planted}]), made_at=AT)
    assert "<script" not in html
    assert "<img" not in html
    assert planted in text_of(html)


def test_a_comparison_of_every_record_says_so():
    deep = tenant("Acme", "equal", entity("customers", "equal"), asked={**ASKED, "deep": True, "repair": True})
    said = text_of(page(summary([deep]), made_at=AT))
    assert "Every record of the period was read" in said
    assert "Not proven" not in said
    assert "compared once more" in said
