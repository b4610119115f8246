"""What alerts, what is held back, what is over: the decisions, on a clock of their own."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from st_pipeline.alerts.causes import cause_of
from st_pipeline.alerts.judge import Judgement, Seen, judge
from st_pipeline.postgres.alert_problems import Problem, Silence
from st_pipeline.postgres.check_verdicts import Severity

START = datetime(2026, 3, 2, 9, tzinfo=UTC)


class Judge:
    """One judgement after the other."""

    def __init__(self) -> None:
        self.now = START
        self.problems: Sequence[Problem] = []
        self.silences: list[Silence] = []
        self.unknown: tuple[str, ...] = ()
        self.times: dict[tuple[str, str | None, str], int] = {}

    def after(self, minutes: float, *seen: Seen) -> list[tuple[str, str, str]]:
        """Look every minute until then; returns what people are told."""
        told = []
        for _ in range(int(minutes)):
            self.now += timedelta(minutes=1)
            found: Judgement = judge(
                self.problems, seen, self.now, silences=self.silences, unknown=self.unknown, times_before=self.times,
                many=3,
            )  # fmt: skip
            for kind, problem in found.events:
                told.append((kind, problem.cause, problem.tenant or problem.subject))
                if kind == "closed":
                    self.times[problem.key] = self.times.get(problem.key, 0) + 1
            self.problems = [one for one in found.problems if one.closed_at is None]
        return told


def failing(tenant: str) -> Seen:
    return Seen("sync_failing", "500", tenant, environment="production")


def refused(tenant: str, severity: Severity | None = None) -> Seen:
    return Seen("credentials_refused", "no", tenant, severity=severity, environment="production")


def test_a_cause_explains_its_consequences_of_the_same_tenant_alone():
    judge = Judge()
    told = judge.after(30, refused("acme"), failing("acme"), failing("birch"))
    assert told == [("opened", "credentials_refused", "acme"), ("opened", "sync_failing", "birch")]
    # The credentials work again; the syncs have a quarter of an hour to come back.
    assert judge.after(14, failing("acme"), failing("birch")) == [("closed", "credentials_refused", "acme")]
    assert judge.after(2, failing("acme"), failing("birch")) == [("opened", "sync_failing", "acme")]


def test_an_outage_explains_nothing_in_another_environment():
    judge = Judge()
    outage = Seen("api_paused", "it is silent", subject="integration")
    assert judge.after(20, outage, failing("acme")) == [
        ("opened", "api_paused", "integration"),
        ("opened", "sync_failing", "acme"),
    ]


def test_a_problem_that_comes_and_goes_is_told_ever_more_rarely():
    """Five minutes there, five gone, for a day: 288 messages without damping."""
    judge, told = Judge(), []
    for _ in range(144):
        told += judge.after(5, refused("acme")) + judge.after(5)
    assert len(told) <= 8


def test_nothing_is_over_because_nobody_could_look():
    judge = Judge()
    dead = Seen("daemon_dead", "silent", subject="SENSOR")
    assert len(judge.after(3, dead)) == 1
    judge.unknown = ("daemon_dead",)
    assert judge.after(60) == []
    judge.unknown = ()
    assert judge.after(5) == [("closed", "daemon_dead", "SENSOR")]


def test_many_tenants_become_one_alert_that_grows_and_ends_once():
    judge = Judge()
    four = [refused(f"t{number}") for number in range(4)]
    twelve = [refused(f"t{number}") for number in range(12)]
    assert judge.after(5, *four) == [("opened", "credentials_refused", "many tenants")]
    assert judge.after(60, *four, refused("t5")) == []
    assert judge.after(10, *twelve) == [("worsened", "credentials_refused", "many tenants")]
    assert judge.after(60, *twelve[:1]) == []
    assert judge.after(10) == [("closed", "credentials_refused", "many tenants")]


def test_tenants_that_follow_within_the_hour_join_and_later_ones_alert_by_themselves():
    judge = Judge()
    assert len(judge.after(10, refused("a"))) == 1
    assert len(judge.after(10, refused("a"), refused("b"))) == 1
    three = refused("a"), refused("b"), refused("c")
    assert judge.after(10, *three) == [("opened", "credentials_refused", "many tenants")]
    judge = Judge()
    for number in range(6):
        told = judge.after(61, *(refused(f"t{one}") for one in range(number + 1)))
        assert told == [("opened", "credentials_refused", f"t{number}")]


def test_a_silenced_problem_alerts_when_the_silence_ends_and_it_is_still_there():
    judge = Judge()
    end = START + timedelta(minutes=30)
    judge.silences = [Silence(1, None, "acme", START, "somebody", None, end)]
    assert judge.after(29, refused("acme"), refused("birch")) == [("opened", "credentials_refused", "birch")]
    judge.silences = []
    assert judge.after(1, refused("acme"), refused("birch")) == [("opened", "credentials_refused", "acme")]


def test_an_acknowledged_problem_does_not_get_worse_but_ends():
    judge = Judge()
    assert len(judge.after(3, refused("acme", Severity.WARN))) == 1
    judge.problems[0].acknowledged_at = judge.now
    assert judge.after(3, refused("acme", Severity.ERROR)) == []
    assert judge.after(3) == [("closed", "credentials_refused", "acme")]


def test_a_warning_that_becomes_an_error_is_told_once():
    judge = Judge()
    told = judge.after(3, refused("acme", Severity.WARN))
    for _ in range(3):
        told += judge.after(3, refused("acme", Severity.ERROR)) + judge.after(3, refused("acme", Severity.WARN))
    assert [kind for kind, *_ in told] == ["opened", "worsened"]


def test_a_check_of_the_company_s_own_is_a_cause_too():
    cause = cause_of("check_no_open_invoices")
    assert (cause.title, cause.severity) == ("check no_open_invoices failed", Severity.ERROR)
