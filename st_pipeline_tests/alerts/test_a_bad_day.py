"""A bad day over 50 tenants, a tick each minute: five are broken, each in its own way, and for an hour the API is gone.

`pytest -m lab -s` on this file prints the receiver's log.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from st_pipeline_tests.alerts.receiver import Minutes, Receiver

MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC)
TENANTS = [f"company-{number:02}" for number in range(50)]
REFUSED, FAILING, FLAPPING, WRONG, LATE = TENANTS[7], TENANTS[13], TENANTS[21], TENANTS[33], TENANTS[42]
EXPECTED = """
00:14 WARNING: Company-33 (company-33): check drift failed
00:40 ERROR: Company-21 (company-21): syncs fail
00:48 OVER: Company-21 (company-21): syncs fail
01:10 ERROR: Company-21 (company-21): syncs fail
01:27 OVER: Company-21 (company-21): syncs fail
01:40 ERROR: Company-21 (company-21): syncs fail
02:12 ERROR: Company-07 (company-07): ServiceTitan refuses the credentials
05:10 ERROR: Company-13 (company-13): syncs fail
08:00 Daily digest: 4 alerts are open
09:30 OVER: Company-07 (company-07): ServiceTitan refuses the credentials
10:04 ERROR: production: ServiceTitan does not answer
11:03 OVER: production: ServiceTitan does not answer
13:22 ERROR: Company-42 (company-42): polls are late
14:02 ERROR: Company-33 (company-33): check completeness failed
16:03 OVER: Company-13 (company-13): syncs fail
18:03 OVER: Company-42 (company-42): polls are late
"""


class Day:
    """What happens when, on the day's clock."""

    def __init__(self, minutes: Minutes) -> None:
        self.minutes = minutes
        minutes.now = MIDNIGHT
        minutes.add(*TENANTS)

    def happens(self) -> dict[str, Callable[[], None]]:
        """By the time of day."""
        m = self.minutes
        events: dict[str, Callable[[], None]] = {
            "00:12": lambda: m.verdict(WRONG, "drift", "failed", "3 new keys in invoices", severity="warn"),
            "02:10": lambda: m.refuse(REFUSED),
            "02:40": lambda: m.verdict(REFUSED, "freshness", "failed", "30 minutes behind its schedule"),
            "09:30": lambda: (m.accept(REFUSED), m.verdict(REFUSED, "freshness", "passed", "in time")),  # type: ignore[func-returns-value, return-value]
            "05:00": lambda: m.fail(FAILING, "invoices", "payments", message="invoices: page 3: HTTP 500, 8 tries"),
            "06:00": lambda: m.verdict(FAILING, "freshness", "failed", "invoices is an hour behind"),
            "16:00": lambda: (m.succeed(FAILING), m.verdict(FAILING, "freshness", "passed", "in time")),  # type: ignore[func-returns-value, return-value]
            "14:00": lambda: m.verdict(WRONG, "completeness", "failed", "invoices: 312 of 20,114 are missing"),
            "13:00": lambda: m.due(LATE),
            "18:00": lambda: m.poll(LATE),
            "11:00": self.api_is_back,
        }
        return events

    def api_is_gone(self) -> None:
        """Every poll of production ends without an answer; freshness fails one tenant after the other."""
        m, minute = self.minutes, self.minutes.now.minute
        m.outage()
        if minute == 0:
            m.due(*TENANTS)
        for tenant in TENANTS[minute % 10 :: 10] if minute < 10 else ():
            m.fail(tenant, "customers", "jobs", message="customers: no answer from api.servicetitan.io within 120 s")
        for tenant in TENANTS[minute % 25 :: 25] if minute >= 35 else ():
            m.verdict(tenant, "freshness", "failed", "35 minutes behind its schedule")

    def api_is_back(self) -> None:
        """It answers; tenants catch up within ten minutes."""
        self.minutes.answers()

    def catch_up(self) -> None:
        """A tenth of the tenants a minute."""
        m = self.minutes
        for tenant in TENANTS[m.now.minute % 10 :: 10]:
            m.poll(tenant)
            if tenant != FAILING:
                m.succeed(tenant)
                m.verdict(tenant, "freshness", "passed", "in time")

    def flap(self) -> None:
        """One tenant fails for 15 minutes of each half hour, all day."""
        if self.minutes.now.minute % 30 == 0:
            self.minutes.fail(FLAPPING, "estimates", message="estimates: page 1: HTTP 502")
        elif self.minutes.now.minute % 30 == 15:
            self.minutes.succeed(FLAPPING)


@pytest.mark.lab
def test_a_bad_day_is_few_messages_that_can_be_read(minutes: Minutes, receiver: Receiver):
    minutes.set(
        channels="ops:digest=json://{url}/ops oncall:error=json://{url}/oncall",
        alert_time_zone=UTC,
        alert_digest_time="08:00",
        alert_late_poll_minutes=20.0,
    )
    day = Day(minutes)
    events = day.happens()
    told: list[tuple[str, str, str, str]] = []
    for _ in range(24 * 60):
        minutes.now += timedelta(minutes=1)
        clock = f"{minutes.now:%H:%M}"
        if clock in events:
            events[clock]()
        if "10:00" <= clock < "11:00":
            day.api_is_gone()
        elif "11:01" <= clock <= "11:10":
            day.catch_up()
        elif not "09:45" <= clock < "11:15":
            day.flap()
        minutes.tick()
        told += [(clock, one.channel, one.title, one.body) for one in receiver.log]
        receiver.log.clear()
    for clock, channel, title, body in told:
        print(f"{clock} -> {channel:6} {title}")  # noqa: T201
        print("".join(f"      {line}\n" for line in body.splitlines()))  # noqa: T201
    ops = [f"{clock} {title}" for clock, channel, title, _ in told if channel == "ops"]
    assert ops == EXPECTED.strip().splitlines()
