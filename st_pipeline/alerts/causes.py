"""Every cause of an alert: what it means, how long it must hold, what to do, and what it explains.

Here: data. Not here: finding problems (collect.py), deciding what alerts (judge.py). A failed check is a cause named
after the check; what to do about it stands with the check (checks/).
"""

from dataclasses import dataclass

from st_pipeline.checks.registry import CHECKS
from st_pipeline.postgres.check_verdicts import Severity

MINUTE = 60.0
# What explained a problem is over: syncs must have had the time to come back before the problem alerts by itself.
AFTER_EXPLAINED_SECONDS = 15 * MINUTE
CHECK_PREFIX = "check_"


@dataclass(frozen=True, slots=True)
class Cause:
    """A cause. `title`: what is wrong, in a few words. `advice`: what to do.

    In the advice `{tenant}`, `{subject}` and `{sync}`, the id of the failed sync, are filled in.
    `hold_seconds`: so long it must be seen before it alerts; `recover_seconds`: so long it must be gone to be over.
    `explains`: the causes that are held back while this one is there: of the same tenant; of all tenants (of an
    environment, if that is its subject) where it concerns no single tenant.
    """

    name: str
    title: str
    severity: Severity
    hold_seconds: float
    recover_seconds: float
    meaning: str
    advice: str
    explains: frozenset[str] = frozenset()


_BY_TIME = frozenset(f"{CHECK_PREFIX}{name}" for name in ("freshness", "overruns", "service_quality"))
_OF_SYNCS = frozenset({"sync_failing", "poll_late", f"{CHECK_PREFIX}credentials"}) | _BY_TIME
_OF_TENANTS = _OF_SYNCS | {"credentials_refused", f"{CHECK_PREFIX}completeness"}

_LIST = (
    Cause(
        "api_paused",
        "ServiceTitan does not answer",
        Severity.ERROR,
        4 * MINUTE,
        3 * MINUTE,
        "Several tenants in a row got no usable answer from the API of an environment, so its polls are paused for all "
        "of them, a minute at first and ten at most. What follows from it for single tenants is held back.",
        "Look at ServiceTitan's status page, and at this machine's network. Polls begin again by themselves, and "
        "nothing is lost.",
        _OF_TENANTS,
    ),
    Cause(
        "credentials_refused",
        "ServiceTitan refuses the credentials",
        Severity.ERROR,
        2 * MINUTE,
        0,
        "A sync was refused everything it asked for: the client secret, the app key or the app's connection is not "
        "valid any more. The tenant is suspended, and tried again ever more rarely.",
        "`st-pipeline credentials test {tenant}` says what is missing and whom to ask for it.",
        _OF_SYNCS,
    ),
    Cause(
        "sync_failing",
        "syncs fail",
        Severity.ERROR,
        10 * MINUTE,
        3 * MINUTE,
        "The last sync of one or more entities of the tenant failed, and none has succeeded for ten minutes. The other "
        "entities and tenants go on.",
        "`st-pipeline logs {sync}` shows the errors; docs/operating.md says what to do about each kind.",
        _BY_TIME,
    ),
    Cause(
        "poll_late",
        "polls are late",
        Severity.ERROR,
        2 * MINUTE,
        3 * MINUTE,
        "The tenant is due for a poll, and nobody has polled it, for longer than ST_PIPELINE_ALERT_LATE_POLL_MINUTES. "
        "One tenant: its polls use up their time. Many: no worker runs, or there are too few.",
        "Look at the runs of incremental_poll in the UI. If they take long, raise ST_PIPELINE_POLL_WORKERS or "
        "ST_PIPELINE_POLL_THREADS.",
        frozenset({f"{CHECK_PREFIX}freshness"}),
    ),
    Cause(
        "run_failed",
        "a Dagster run failed or died",
        Severity.ERROR,
        2 * MINUTE,
        0,
        "The newest run of a job did not end with a result: its process died, it could not start, the database was "
        "not there, or it took too long. A run that ended because a tenant's sync failed does not count. Over when a "
        "later run of the job ends well, or after a day.",
        "Open the run in the UI: its last lines say why. What was committed stays, and the next run continues there.",
    ),
    Cause(
        "daemon_dead",
        "Dagster's daemon is silent",
        Severity.ERROR,
        0,
        2 * MINUTE,
        "A part of dagster-daemon has given no sign of life for five minutes: without it no schedule runs, no queued "
        "run begins, or no dead run is noticed.",
        "Restart dagster-daemon (`systemctl restart st-pipeline-daemon`), and read its log.",
        _BY_TIME | {"poll_late"},
    ),
    Cause(
        "dagster_database",
        "Dagster's database does not answer",
        Severity.ERROR,
        2 * MINUTE,
        2 * MINUTE,
        "The database of Dagster's own storage cannot be read, so no run can begin.",
        "`st-pipeline doctor` tests the connection.",
        _BY_TIME | {"poll_late"},
    ),
    Cause(
        "disk_full",
        "a disk is full or nearly full",
        Severity.WARN,
        0,
        5 * MINUTE,
        "Less than ST_PIPELINE_ALERT_LEAST_FREE_BYTES is free on a disk of this machine that holds data (an error "
        "below an eighth of it), or Postgres has said that its disk is full.",
        "Free space or grow the disk. Syncs stop when Postgres's disk is full, and continue by themselves afterwards.",
        frozenset({"sync_failing"}),
    ),
    Cause(
        "channel_failing",
        "alerts do not get through",
        Severity.ERROR,
        5 * MINUTE,
        0,
        "A channel of ST_PIPELINE_ALERT_CHANNELS refuses messages or does not answer. They wait, and are tried again "
        "every 15 minutes at the latest. The other channels tell of it.",
        "`st-pipeline alerts test {subject}` sends a message and says what happens. Has its address or token changed?",
    ),
)
CAUSES: dict[str, Cause] = {cause.name: cause for cause in _LIST}
_CHECK_ADVICE = {f"{CHECK_PREFIX}{check.name}": (check.description, check.advice) for check in CHECKS}


def cause_of(name: str) -> Cause:
    """The cause of this name. A check's, also one that is a company's own, is made from the check."""
    known = CAUSES.get(name)
    if known is not None:
        return known
    check = name.removeprefix(CHECK_PREFIX)
    meaning, advice = _CHECK_ADVICE.get(name, ("A check of your own.", "See the file with its query."))
    show = f"`st-pipeline checks show {check}` has the figures."
    return Cause(
        name, f"check {check} failed", Severity.ERROR, 2 * MINUTE, 5 * MINUTE, meaning, f"{advice} {show}"
    )  # fmt: skip
