"""How `sync-status` shows tenants: a line each, the worst first, and below them what is wrong.

Here: the tables. Not here: what is in them (operations/), the syncs (table.py).
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from st_pipeline.cli.output import number_of, shown

if TYPE_CHECKING:
    from st_pipeline.operations.tenant_status import TenantStatus

STYLES = {"refused": "red", "failing": "red", "late": "yellow", "check fails": "yellow", "well": "green"}
COLUMNS = ("tenant", "state", "since (UTC)", "polled", "late", "rows", "rejects")
RIGHT = {"late", "rows", "rejects"}


def tenants_screen(lines: "Sequence[TenantStatus]", figures: dict[str, Any], limit: int) -> Group:
    """The lines: all with a problem, of the others as many as fit the limit; then causes and what polls come next."""
    troubled = [line for line in lines if line.causes]
    kept = lines[: max(limit, len(troubled))]
    parts: list[Any] = [_table(kept) if kept else "no tenant yet: add one with `st-pipeline credentials add`"]
    if more := len(lines) - len(kept):
        parts.append(f"and {number_of(more, 'tenant')} more, all well; --limit shows more")
    parts += [Text(), *_causes(troubled)] if troubled else []
    return Group(*parts, Text(), *_what_comes(figures["next_due"]))


def _table(lines: "Sequence[TenantStatus]") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in COLUMNS:
        table.add_column(name, overflow="fold", no_wrap=name != "tenant", justify="right" if name in RIGHT else "left")
    for line in lines:
        word = line.state.word
        table.add_row(
            Text(line.tenant),
            Text(word, style=STYLES.get(word, "")),
            _moment(line.since),
            _moment(line.polled_at),
            _duration(line.late_seconds),
            shown(line.rows),
            f"{line.rejects:,}" if line.rejects else "",
        )
    return table


def _causes(lines: "Sequence[TenantStatus]") -> Iterator[Text]:
    """Each cause once, with what it affects and the command that helps."""
    for line in lines:
        for cause in line.causes:
            text = Text(f"{line.tenant}: ", style="bold")
            text.append(cause.what, style="not bold")
            if cause.affects:
                text.append(f" [{cause.affects}]", style="not bold")
            if cause.to_do:
                text.append(f" -> {cause.to_do}", style="not bold")
            yield text


def _what_comes(due: dict[str, Any]) -> Iterator[Text]:
    number = number_of(due["with_next_tick"], "tenant")
    yield Text(f"next: {number} at the next tick of {due['cron']} (UTC), as long as Dagster or cron runs")
    for title, name in (("switched off", "switched_off"), ("paused for all", "paused_for_all")):
        if due[name]:
            yield Text(f"{title}: {'; '.join(due[name])}")


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%m-%d %H:%M")


def _duration(seconds: float) -> str:
    """12 min, 3 h, 2 d."""
    if not seconds:
        return ""
    span = timedelta(seconds=seconds)
    if span < timedelta(hours=2):
        return f"{span // timedelta(minutes=1)} min"
    return f"{span // timedelta(hours=1)} h" if span < timedelta(days=2) else f"{span.days} d"
