"""What a message says: which company, what, since when, how bad, what to do, where to look.

Here: the texts. Not here: sending them (channels.py), what is wrong (collect.py). A message holds no secret and no
customer's record: only what our own errors, checks and figures say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from st_pipeline.alerts.causes import CHECK_PREFIX, cause_of
from st_pipeline.alerts.channels import Text
from st_pipeline.alerts.judge import MANY
from st_pipeline.alerts.times import lasting, shown
from st_pipeline.postgres.alert_deliveries import Kind
from st_pipeline.postgres.alert_problems import Problem
from st_pipeline.postgres.check_verdicts import Severity
from st_pipeline.settings import Settings

LINES_OF_A_DIGEST = 20
LED_TO = ("run", "sync")  # figures that the link or the advice leads to
ASSETS = "servicetitan"  # what the keys of all assets begin with (defs/metadata.py)


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes messages. `companies`: the name of each tenant's company."""

    settings: Settings
    companies: Mapping[str, str]
    now: datetime

    def about(self, kind: Kind, problem: Problem) -> Text:
        """A message about a problem: it is new, has become worse, or is over."""
        if kind == "closed":
            return Text(f"OVER: {self.headline(problem)}", self._over(problem), "success", incident(problem))
        word = "ERROR" if problem.severity is Severity.ERROR else "WARNING"
        worse = " (worse than before)" if kind == "worsened" else ""
        lines = [
            *self._who(problem),
            f"What: {problem.message}",
            f"Since: {self._since(problem)}",
            *self._how_bad(problem),
            f"What to do: {advice(problem)}",
            f"Look at: {link(self.settings, problem)}",
            f"Somebody works on it: st-pipeline alerts ack {problem.id}",
        ]
        tone = "failure" if problem.severity is Severity.ERROR else "warning"
        return Text(f"{word}: {self.headline(problem)}{worse}", "\n".join(lines), tone, incident(problem))

    def digest(self, alerts: Sequence[Problem], tenants: int) -> Text:
        """What is wrong and what was, since the last one. `alerts`: the newest first."""
        still = [one for one in alerts if one.closed_at is None]
        over = [one for one in alerts if one.closed_at is not None]
        lines = [f"Tenants: {tenants}. {_are_open(still)}; over in the last 24 hours: {len(over)}."]
        lines += self._section("Open:", still) + self._section("Over:", over)
        if not alerts:
            lines.append("Nothing is wrong.")
        lines.append(f"Look at: {ui(self.settings)}/runs")
        return Text(f"Daily digest: {_are_open(still)}", "\n".join(lines), "warning" if still else "info")

    def _section(self, title: str, alerts: Sequence[Problem]) -> list[str]:
        if not alerts:
            return []
        lines = [f"- {self._line(one)}" for one in alerts[:LINES_OF_A_DIGEST]]
        more = len(alerts) - LINES_OF_A_DIGEST
        return [title, *lines, *([f"- and {more} more: st-pipeline alerts list"] if more > 0 else [])]

    def _line(self, problem: Problem) -> str:
        word = "error" if problem.severity is Severity.ERROR else "warning"
        when = f"since {shown(self.settings, problem.since)}"
        if problem.closed_at is not None:
            when += f", for {lasting((problem.closed_at - problem.since).total_seconds())}"
        taken = f", acknowledged by {problem.acknowledged_by}" if problem.acknowledged_by else ""
        return f"{word}: {self.headline(problem)}, {when}{taken} (alert {problem.id})"

    def headline(self, problem: Problem) -> str:
        """Who and what, on a line."""
        title = cause_of(problem.cause).title
        if problem.subject == MANY:
            number = problem.figures.get("most" if problem.closed_at else "tenants", 0)
            return f"{number} tenants: {title}"
        who = self._company(problem.tenant) if problem.tenant is not None else problem.subject
        return f"{who}: {title}"

    def _company(self, tenant: str) -> str:
        return f"{self.companies[tenant]} ({tenant})" if tenant in self.companies else tenant

    def _who(self, problem: Problem) -> list[str]:
        return [] if problem.tenant is None else [f"Company: {self._company(problem.tenant)}"]

    def _since(self, problem: Problem) -> str:
        return f"{shown(self.settings, problem.since)} ({lasting((self.now - problem.since).total_seconds())})"

    def _over(self, problem: Problem) -> str:
        ended = problem.gone_since or problem.closed_at or self.now
        lasted = lasting((ended - problem.since).total_seconds())
        lines = [
            *self._who(problem),
            f"From {shown(self.settings, problem.since)} to {shown(self.settings, ended)} ({lasted}).",
        ]
        if problem.subject != MANY:
            lines.append(f"It was: {problem.message}")
        return "\n".join([*lines, f"Look at: {link(self.settings, problem)}"])

    def _how_bad(self, problem: Problem) -> list[str]:
        figures = dict(problem.figures)
        if problem.subject == MANY:
            worst = figures.get("worst", [])
            lines = [f"- {self._company(one['tenant'])}: {one['message']}" for one in worst]
            more = int(figures.get("tenants", 0)) - len(worst)
            return [
                "Worst:",
                *lines,
                *([f"- and {more} more: st-pipeline alerts show {problem.id}"] if more > 0 else []),
            ]
        shown = {name: value for name, value in figures.items() if name not in LED_TO and _is_figure(value)}
        named = [f"{name.replace('_', ' ')} {_figure(value)}" for name, value in shown.items()]
        return [f"How bad: {'; '.join(named)}"] if named else []


def _are_open(alerts: Sequence[Problem]) -> str:
    return "1 alert is open" if len(alerts) == 1 else f"{len(alerts) or 'no'} alerts are open"


def advice(problem: Problem) -> str:
    """What to do about it."""
    text = cause_of(problem.cause).advice
    filled = {"tenant": problem.tenant or "TENANT", "subject": problem.subject, "sync": "SYNC"} | problem.figures
    for name in ("tenant", "subject", "sync"):
        text = text.replace(f"{{{name}}}", str(filled[name]))
    return text


def incident(problem: Problem) -> str:
    """What all messages about an alert have in common."""
    who = problem.tenant or ("" if problem.subject == MANY else problem.subject)
    return f"Alert {problem.id}: {who + ': ' if who else ''}{cause_of(problem.cause).title}"


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float | str) or (isinstance(value, list) and all(isinstance(v, str) for v in value))


def _figure(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - 5} more" if len(value) > 5 else ""  # noqa: PLR2004
        return ", ".join(value[:5]) + more
    return f"{value:,}" if isinstance(value, int) else str(value)


def ui(settings: Settings) -> str:
    """The UI's address."""
    return settings.alert_ui_url or f"http://{settings.dagster_host}:{settings.dagster_port}"


def link(settings: Settings, problem: Problem) -> str:
    """Where to look at a problem in the UI."""
    base, run = ui(settings), problem.figures.get("run")
    if run is not None:
        return f"{base}/runs/{quote(str(run))}"
    if problem.cause in ("daemon_dead", "dagster_database"):
        return f"{base}/deployment/daemons"
    entities = problem.figures.get("entities") or problem.figures.get("assets")
    if problem.tenant is None or not entities:
        return f"{base}/runs"
    asset = quote(f"{ASSETS}/{next(iter(entities))}")
    if problem.cause.startswith(CHECK_PREFIX):
        return f"{base}/assets/{asset}?view=checks"
    return f"{base}/assets/{asset}?view=partitions&partition={quote(problem.tenant)}"
