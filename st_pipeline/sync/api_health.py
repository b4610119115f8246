"""Does an API answer at all? When several tenants in a row get no usable answer, it is paused once for all of them.

Here: what counts as an answer, and when to pause. Not here: the table of pauses (postgres/), a tenant that is refused
(tenants/suspension.py), a tenant that is slow (poll_worker.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from sqlalchemy import Connection

from st_pipeline.postgres import api_pauses
from st_pipeline.postgres.api_pauses import ApiPause
from st_pipeline.sync.entity_order import is_outage
from st_pipeline.sync.polling import TenantPoll

SEVERAL = 3  # tenants


@dataclass(slots=True)
class ApiHealth:
    """What a worker has seen of each environment's API. `known`: the pauses when it began."""

    known: dict[str, ApiPause] = field(default_factory=dict)
    _silent: dict[str, set[str]] = field(default_factory=dict)

    def note(self, connection: Connection, polls: Iterable[TenantPoll]) -> list[ApiPause]:
        """Note how polls ended; begins and ends pauses. Returns those that began."""
        begun = []
        for poll in polls:
            environment, silent = poll.claim.environment, self._silent.setdefault(poll.claim.environment, set())
            says = _says(poll)
            if says == "answers":
                silent.clear()
                if self.known.pop(environment, None) is not None:
                    api_pauses.end(connection, environment)
            elif says == "is silent":
                silent.add(poll.claim.partition_key)
            if len(silent) >= SEVERAL:
                reason = f"{len(silent)} tenants in a row got no usable answer, the last: {_last_error(poll)}"
                self.known[environment] = api_pauses.begin(connection, environment, reason)
                begun.append(self.known[environment])
                silent.clear()
        return begun


def _says(poll: TenantPoll) -> Literal["answers", "is silent", "nothing"]:
    """A busy tenant or one whose secret does not open says nothing of the API. A refusal is an answer."""
    errors = [poll.error] if poll.result is None else [outcome.error for outcome in poll.result.outcomes]
    if poll.all_feeds_answered or (poll.result is not None and (poll.result.unchanged or None in errors)):
        return "answers"
    return "is silent" if any(is_outage(error) for error in errors) else "nothing"


def _last_error(poll: TenantPoll) -> str:
    errors = [poll.error] if poll.result is None else [outcome.error for outcome in poll.result.outcomes]
    return next(type(error).__name__ for error in reversed(errors) if is_outage(error))
