"""Checks beside the polls: evaluated by threads of their own, shown by the thread that tells Dagster.

Here: the threads, and the order of what is shown. Not here: evaluating and showing (checks).

That thread also claims the next tenants. Asking ServiceTitan for totals, some tenths of a second a tenant, would leave
the polls' threads without work meanwhile.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

from st_pipeline.checks.spec import CheckedTenant, Verdict
from st_pipeline.defs.checks import Event
from st_pipeline.servicetitan.deadline import NO_DEADLINE, Deadline

THREADS = 4


class _Begun(NamedTuple):
    tenant: CheckedTenant
    materialized: Collection[str]
    found: "Future[list[Verdict]]"


@dataclass(slots=True)
class PollChecks:
    """The checks of a run of polls. `evaluate` raises nothing; `show` is called in the caller's thread."""

    evaluate: Callable[[CheckedTenant, Collection[str]], list[Verdict]]
    show: Callable[[CheckedTenant, Collection[str], Collection[Verdict]], Iterator[Event]]
    deadline: Deadline = NO_DEADLINE
    _threads: ThreadPoolExecutor = field(init=False)
    _begun: deque[_Begun] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="checks")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def begin(self, tenant: CheckedTenant, materialized: Collection[str], changed: Collection[str]) -> None:
        """Evaluate the checks of a tenant whose poll has ended; nothing when the poll changed nothing."""
        if materialized or changed:
            self._begun.append(_Begun(tenant, materialized, self._threads.submit(self.evaluate, tenant, changed)))

    def shown(self, *, wait: bool = False) -> Iterator[Event]:
        """What has been evaluated since, in the order in which it was begun; `wait`: all of it.

        When the run's time is up, what was not begun is left to the next poll, and the known verdicts are repeated.
        """
        while self._begun and (wait or self._begun[0].found.done()):
            if self.deadline.has_passed:
                for one in self._begun:
                    one.found.cancel()
            tenant, materialized, found = self._begun.popleft()
            yield from self.show(tenant, materialized, () if found.cancelled() else found.result())
