"""How `sync-status` looks, in 80 columns and more.

Here: the tables. Not here: what is in them (operations/).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from st_pipeline.cli.output import shown

STYLES = {"completed": "green", "failed": "red", "running": "cyan"}
NARROW = 100  # columns; in narrower terminals the columns have shorter names
LONG = ("id", "company", "data type", "status", "started (UTC)", "completed", "processed", "successful", "failed")
SHORT = ("id", "company", "data type", "status", "started", "ended", "records", "good", "failed")
RIGHT = {"id", *LONG[-3:], *SHORT[-3:]}


def syncs_table(syncs: Iterable[dict[str, Any]], width: int) -> Table:
    """One line for each sync."""
    names = LONG if width >= NARROW else SHORT
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in names:
        table.add_column(
            name,
            overflow="fold",
            no_wrap=name not in ("company", "data type"),
            justify="right" if name in RIGHT else "left",
        )
    for sync in syncs:
        table.add_row(
            str(sync["id"]),
            Text(sync["tenant"]),
            Text(sync["data_type"]),
            Text(sync["status"], style=STYLES[sync["status"]]),
            _start(sync["started_at"]),
            _end(sync["started_at"], sync["completed_at"]),
            *_records(sync),
        )
    return table


def _records(sync: dict[str, Any]) -> Iterable[str]:
    """Read, stored, rejected; nothing for a sync that failed before it read a record."""
    if sync["status"] == "failed" and not sync["records_processed"]:
        return "", "", ""
    return (shown(sync[f"records_{name}"]) for name in ("processed", "successful", "failed"))


def _start(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%m-%d %H:%M")


def _end(started: datetime, at: datetime | None) -> str:
    """The time; with the day unless it is the same day."""
    if at is None:
        return ""
    same_day = started.astimezone(UTC).date() == at.astimezone(UTC).date()
    return at.astimezone(UTC).strftime("%H:%M" if same_day else "%m-%d %H:%M")


def reasons(syncs: Sequence[dict[str, Any]]) -> list[Text]:
    """Why each failed, below the table."""
    lines = [Text()]
    lines += [Text(f"{sync['id']} {sync['tenant']}: {sync['message'] or 'reason unknown'}") for sync in syncs]
    return lines


def figures_table(figures: dict[str, Any]) -> Table:
    """Name and value, line by line."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in _lines(figures).items():
        table.add_row(name, Text(value))
    return table


def _lines(f: dict[str, Any]) -> dict[str, str]:
    rate = "none has ended yet" if f["success_rate"] is None else f"{f['success_rate']:.1%}"
    share = "no records" if f["failed_share"] is None else f"{f['failed_share']:.3%}"
    slowest = [f"{sync['tenant']} {sync['seconds']:,.1f} s ({sync['id']})" for sync in f["slowest"]]
    p95 = "none" if f["api_p95_ms"] is None else f"{f['api_p95_ms']:,.0f} ms"
    per_second = "" if f["records_per_second"] is None else f", {f['records_per_second']:,.0f} a second"
    return {
        "since (UTC)": shown(f["since"]),
        "syncs": f"{f['syncs']:,}: {f['completed']:,} completed, {f['failed']:,} failed, {f['running']:,} running",
        "success rate": rate,
        "records": f"{f['records']:,}{per_second}",
        "rejected records": f"{f['records_failed']:,} ({share})",
        "requests": f"{f['requests']:,}, {f['retries']:,} repeated, {f['rate_limited']:,} rate limited",
        "p95 of API time": p95,
        "token refreshes": f"{f['token_refreshes']:,}",
        "slowest": "; ".join(slowest) or "none",
        "next due": _due_line(f["next_due"]),
        "switched off": "; ".join(f["next_due"]["switched_off"]) or "nothing",
        "paused for all": "; ".join(f["next_due"]["paused_for_all"]) or "nothing",
        "refused": "; ".join(map(_refused_line, f["refused"])) or "none",
    }


def _refused_line(refused: dict[str, Any]) -> str:
    since = "" if refused["since"] is None else f" since {shown(refused['since'])}"
    return f"{refused['tenant']}{since}: {refused['message'] or 'its credentials do not work'}"


def _due_line(due: dict[str, Any]) -> str:
    number = due["with_next_tick"]
    parts = [f"{number} tenant{'' if number == 1 else 's'} with the next tick of {due['cron']} (UTC)"]
    parts += [f"{tenant} from {shown(datetime.fromisoformat(moment))}" for tenant, moment in due["later"].items()]
    parts += [f"{tenant}: {why}" for tenant, why in due["skipped"].items()]
    return "; ".join(parts)
