"""Faults on demand: which rule applies to which request.

Here: rules and when they apply (every n-th time, at random, so many times). Not here: what the request then gets.
"""

import random
import time
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from st_pipeline.simulator.settings import Settings

Kind = Literal[
    "status",
    "429",
    "cut_body",
    "slow",
    "html_200",
    "not_json",
    "revoke_tokens",
    "drop_connection",
    "rate_limit",
    "row_changes_between_pages",
    "nulls",
    "enums",
    "extra_keys",
    "reject_export_token",
    "repeat_page",
]
CONTRACT_VIOLATIONS = ("nulls", "enums", "extra_keys")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rule as a test writes it.

    It applies when `path` is part of the address and `entity` is the one requested (`token` for the token endpoint).
    Then it applies always, every n-th time, or with a probability; at most `times` times, and never among the first
    `after_requests`.
    """

    kind: Kind
    path: str | None = None
    entity: str | None = None
    probability: float | None = None
    seed: int = 0
    every_nth: int | None = None
    times: int | None = None
    after_requests: int = 0
    status: int = 503
    body: Literal["json", "html", "empty"] = "json"
    wait_seconds: int = 1
    header: bool = False
    how: Literal["truncate", "close"] = "truncate"
    seconds: float = 1.0
    per_second: int = 1
    rate: float = 1.0
    rows: int = 2


@dataclass(frozen=True, slots=True)
class RequestTraits:
    """What the rules look at in a request."""

    path: str
    entity: str
    kind: str
    later_page: bool
    has_token: bool

    def suits(self, kind: Kind) -> bool:
        """Can a fault of this kind have an effect on this request?"""
        if kind in ("row_changes_between_pages", "repeat_page"):
            return self.later_page
        if kind == "reject_export_token":
            return self.has_token
        return kind not in CONTRACT_VIOLATIONS or self.kind in ("list", "export")


@dataclass(slots=True)
class ActiveRule:
    """A rule and its counts."""

    rule: Rule
    seen: int = 0
    struck: int = 0
    chance: random.Random = field(init=False)
    _recent: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.rule.seed)  # noqa: S311 - chance, not secrets

    def applies_to(self, asked: RequestTraits) -> bool:
        """Count the request and say whether the rule applies."""
        if not self._applies(asked):
            return False
        self.seen += 1
        struck = self._is_due() and (self.rule.kind != "rate_limit" or self._too_fast())
        self.struck += struck
        return struck

    def _applies(self, asked: RequestTraits) -> bool:
        rule = self.rule
        limit = 1 if rule.kind == "revoke_tokens" and rule.every_nth is None and rule.times is None else rule.times
        names = (None, "", asked.entity, asked.entity.partition(".")[0])  # custom_fields: all its lists, or one
        here = (not rule.path or rule.path in asked.path) and rule.entity in names
        return here and asked.suits(rule.kind) and (limit is None or self.struck < limit)

    def _is_due(self) -> bool:
        rule, number = self.rule, self.seen - self.rule.after_requests
        if number <= 0 or (rule.every_nth and number % rule.every_nth):
            return False
        return rule.probability is None or self.chance.random() < rule.probability

    def _too_fast(self) -> bool:
        now = time.monotonic()
        self._recent = [moment for moment in self._recent if moment > now - 1]
        if len(self._recent) >= self.rule.per_second:
            return True
        self._recent.append(now)
        return False


class Faults:
    """The rules of one tenant: those a test has set, and those its settings imply."""

    def __init__(self) -> None:
        self.rules: list[ActiveRule] = []
        self._implied: tuple[Settings | None, list[ActiveRule]] = (None, [])

    def replace(self, rules: list[Rule]) -> None:
        """Replace the rules; all counts start at zero."""
        self.rules = [ActiveRule(rule) for rule in rules]

    def add(self, rule: Rule) -> None:
        """Add a rule; the others keep their counts."""
        self.rules.append(ActiveRule(rule))

    def striking(self, asked: RequestTraits, settings: Settings) -> list[ActiveRule]:
        """The rules that apply to this request, in order; every rule counts it."""
        if self._implied[0] is not settings:
            self._implied = (settings, [ActiveRule(rule) for rule in implied_rules(settings)])
        return [active for active in [*self.rules, *self._implied[1]] if active.applies_to(asked)]


def implied_rules(settings: Settings) -> list[Rule]:
    """The rules that the settings imply."""
    s = settings
    rules = [
        *(
            Rule(kind="status", status=status, probability=s.server_error_rate / 4, seed=status)
            for status in (500, 502, 503, 504)
        ),
        Rule(kind="status", status=503, body="html", probability=s.html_rate, seed=1),
        Rule(kind="cut_body", probability=s.cut_body_rate, seed=2),
        Rule(kind="slow", seconds=s.slow_seconds, probability=s.slow_rate, seed=3),
        Rule(kind="row_changes_between_pages", probability=float(s.row_changes_between_pages)),
    ]
    violations = [
        Rule(kind="nulls", rate=s.null_rate),
        Rule(kind="enums", rate=s.enum_rate),
        Rule(kind="extra_keys", rate=s.extra_key_rate),
    ]
    return [rule for rule in rules if rule.probability] + [rule for rule in violations if rule.rate]
