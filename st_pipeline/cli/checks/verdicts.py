"""How checks and their verdicts are printed for people.

Here: the forms. Not here: which are shown (commands.py).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rich.padding import Padding
from rich.text import Text

from st_pipeline.checks.spec import TENANT, Severity, Status, Verdict
from st_pipeline.cli.output import print_table, print_text, shown
from st_pipeline.cli.terminal import terminal

WORDS = {
    Status.FAILED: "has failed since {since} UTC ({severity})",
    Status.PASSED: "has passed since {since} UTC",
    Status.NOT_CHECKABLE: "cannot be checked",
}


def print_verdicts(verdicts: Sequence[Verdict], limit: int | None = None) -> None:
    """A line for each, the worst first, and below it what was found."""
    for one in sorted(verdicts, key=_order)[:limit]:
        on = "" if one.asset == TENANT else f" on {one.asset}"
        said = WORDS[one.status].format(since=shown(one.since), severity=one.severity.value)
        print_text(f"{one.tenant}: {one.check}{on} {said}")
        _indented(one.message)
        if one.acknowledged:
            until = "" if one.acknowledged_until is None else f" until {shown(one.acknowledged_until)} UTC"
            _indented(f"acknowledged{until} by {one.acknowledged_by}: {one.acknowledged_because}")


def _order(one: Verdict) -> tuple[bool, bool, bool, datetime]:
    """What needs somebody first, then what has failed for longest."""
    fails = one.status is Status.FAILED
    return not fails, one.acknowledged, one.severity is not Severity.ERROR, one.since


def print_checks(checks: Sequence[dict[str, Any]]) -> None:
    """All checks: how many tenants and assets fail each, and what is true when it passes."""
    for one in checks:
        fails = f"fails {one['failed']:,} time{'' if one['failed'] == 1 else 's'}" if one["failed"] else "fails nowhere"
        print_text(f"{one['check']} ({one['severity']}), on {_on(one['assets'])}: {fails}")
        _indented(one["description"])
    print_text("`st-pipeline checks show CHECK` shows its thresholds and who fails it")


def print_check(check: dict[str, Any]) -> None:
    """One check, its thresholds, verdicts and history."""
    print_text(f"{check['check']} ({check['severity']}), on {_on(check['assets'])}")
    _indented(check["description"])
    _indented(f"When it fails: {check['advice']}")
    if check["thresholds"]:
        rows = [(one["name"], f"{one['value']:g}", one["description"]) for one in check["thresholds"]]
        print_text("")
        print_table(("threshold", "value", "meaning"), rows)
    print_text("")
    print_verdicts([_verdict(one) for one in check["verdicts"]])
    if not check["verdicts"]:
        print_text("nothing was checked yet" if "tenant" in check else "it fails for nobody")
    if check.get("history"):
        changes = [(one["at"], one["asset"], _change(one), one["message"]) for one in check["history"]]
        print_text("")
        print_table(("at (UTC)", "on", "change", "what was found"), changes)


def _verdict(values: dict[str, Any]) -> Verdict:
    return Verdict(**{name: value for name, value in values.items() if name != "acknowledged"})


def _change(one: dict[str, Any]) -> str:
    after = str(one["status"])
    return f"{one['before']} → {after}" if one["before"] not in (None, one["status"]) else after


def _on(assets: Sequence[str]) -> str:
    return ", ".join(assets) if len(assets) <= 3 else f"{len(assets)} entities"  # noqa: PLR2004


def _indented(text: str) -> None:
    terminal().print(Padding(Text(text), (0, 0, 0, 4), expand=False))
