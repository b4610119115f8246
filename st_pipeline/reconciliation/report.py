"""A reconciliation as one page of HTML that a manager can read, by itself: no scripts, nothing fetched.

Here: what the page says, and the geometry of its charts. Not here: its looks (report.html.j2), comparing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from st_pipeline.reconciliation.documents import WORST_FIRST

Document = Mapping[str, Any]

HEADLINES = {
    "equal": "Everything that was compared equals ServiceTitan.",
    "repaired": "Records differed. They were fetched again, and now everything that was compared equals ServiceTitan.",
    "differs": "Records differ from ServiceTitan.",
    "incomplete": "Nothing differs in what was compared, but not everything could be compared.",
}
WORDS = {"equal": "Equal", "repaired": "Repaired", "differs": "Differs", "incomplete": "Incomplete"}
# The column that a chart of an entity shows, and how people call it.
CHARTED = {"invoices": ("total", "Invoices: totals"), "payments": ("total", "Payments: totals")}
MONTHS_SHOWN = 24
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 170, 64, 24, 12
MILLION, THOUSAND = 1_000_000, 1_000


@dataclass(frozen=True, slots=True)
class Bar:
    """A month in a chart: what is here and there, in pixels. `label`: under it; `title`: in words."""

    x: float
    width: float
    here_y: float
    here_height: float
    there_y: float
    there_height: float
    label: str
    title: str
    differs: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """Money by month. `ticks`: heights and their amounts. `months`: those that differ, as rows of a table."""

    title: str
    bars: Sequence[Bar]
    ticks: Sequence[tuple[float, str]]
    months: Sequence[Document]
    column: str
    is_read: bool
    left_out: int


def page(document: Document, *, made_at: datetime | None = None) -> str:
    """The page."""
    import jinja2  # 0.05 CPU s, for those who ask for a page

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("st_pipeline.reconciliation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "moment": _moment, "megabytes": _megabytes, "plain": _plain}
    tenants = sorted(document["tenants"], key=lambda one: (_rank(one["verdict"]), one["company"], one["tenant"]))
    return environment.get_template("report.html.j2").render(
        document=document,
        headline=headline(document),
        tenants=tenants,
        words=WORDS,
        charts={one["tenant"]: [chart for each in one["entities"] if (chart := chart_of(each))] for one in tenants},
        figures={one["tenant"]: figures(one) for one in tenants},
        how=how(tenants),
        made_at=made_at or datetime.now(UTC),
    )


def headline(document: Document) -> str:
    """The verdict in one sentence, with figures where something is wrong."""
    if document["verdict"] != "differs":
        return HEADLINES[document["verdict"]]
    wrong = [one for one in document["tenants"] if one["verdict"] == "differs"]
    left = sum(figures(one)["left"] for one in wrong)
    companies = "1 company" if len(wrong) == 1 else f"{len(wrong)} companies"
    records = "1 record" if left == 1 else f"{left:,} records"
    return f"{records} of {companies} {'differs' if left == 1 else 'differ'} from ServiceTitan."


def figures(tenant: Document) -> dict[str, Any]:
    """A tenant's figures over all its entities."""
    entities = tenant["entities"]
    names = ("here", "missing", "gone", "different", "left", "repaired", "recent", "rejected", "requests", "bytes")
    return {name: sum(one[name] for one in entities) for name in names}


def how(tenants: Sequence[Document]) -> dict[str, bool]:
    """What was asked for, of any of them."""
    return {
        "deep": all(one["asked"].get("deep") for one in tenants) and bool(tenants),
        "repair": any(one["asked"].get("repair") for one in tenants),
        "period": any(one["asked"].get("from") or one["asked"].get("to") for one in tenants),
    }


def chart_of(entity: Document) -> Chart | None:
    """The chart of an entity's money; None where it has none."""
    if entity["entity"] not in CHARTED or not entity["months"]:
        return None
    column, title = CHARTED[entity["entity"]]
    months = entity["months"][-MONTHS_SHOWN:]
    amounts = [(_amount(one, column, "here"), _amount(one, column, "there")) for one in months]
    highest = max((max(abs(here), abs(there)) for here, there in amounts), default=Decimal(0)) or Decimal(1)
    step = (WIDTH - LEFT) / max(len(months), 12)
    scale = (HEIGHT - TOP - BOTTOM) / float(highest)

    def height(amount: Decimal) -> float:
        return round(float(abs(amount)) * scale, 1)

    base = HEIGHT - BOTTOM
    bars = [
        Bar(
            x=round(LEFT + step * place + step * 0.12, 1),
            width=round(step * 0.36, 1),
            here_y=round(base - height(here), 1),
            here_height=height(here),
            there_y=round(base - height(there), 1),
            there_height=height(there),
            label=one["month"] if place % max(1, len(months) // 8) == 0 else "",
            title=f"{one['month']}: here {here:,}, at ServiceTitan {there:,}",
            differs=one["differs"],
        )
        for place, (one, (here, there)) in enumerate(zip(months, amounts, strict=True))
    ]
    ticks = [(round(base - float(highest) * share * scale, 1), _short(float(highest) * share)) for share in (0, 0.5, 1)]
    return Chart(
        title,
        bars,
        ticks,
        [one for one in entity["months"] if one["differs"]],
        column,
        is_read=all(one["is_read"] for one in entity["months"]),
        left_out=len(entity["months"]) - len(months),
    )


def _amount(month: Document, column: str, where: str) -> Decimal:
    return Decimal(month["amounts"][column][where])


def _short(amount: float) -> str:
    if amount >= MILLION:
        return f"{amount / MILLION:.1f} M"
    return f"{amount / THOUSAND:.0f} k" if amount >= THOUSAND else f"{amount:.0f}"


def _number(value: int | str | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{Decimal(value):,}"


def _plain(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _moment(value: datetime | str | None) -> str:
    if value is None:
        return "–"
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _megabytes(value: int) -> str:
    return f"{value / MILLION:,.1f} MB"


def _rank(verdict: str) -> int:
    return [one.value for one in WORST_FIRST].index(verdict)
