"""Which errors a request outlives, and how long it waits before it is sent again.

Here: the policy, in seconds. Not here: retries in minutes (the next poll, a run's policy), sending (client.py).
"""

import random
import threading
from collections.abc import Callable

import tenacity

from st_pipeline.errors import (
    AuthError,
    InvalidApiResponseFormat,
    PipelineError,
    RateLimitExceeded,
    ServiceUnavailable,
    TransientApiError,
)
from st_pipeline.servicetitan.deadline import Deadline
from st_pipeline.settings import Settings

Sleep = Callable[[threading.Event, float], object]
OnRetry = Callable[[BaseException | None, int, float], None]


def retrying(
    settings: Settings, *, deadline: Deadline, stop: threading.Event, sleep: Sleep, on_retry: OnRetry
) -> tenacity.Retrying:
    """Calls a function until it succeeds, its error is not worth another try, the tries are used up, or `stop` is set.

    Also until the next wait would outlast the deadline. The last error is raised as it is. `sleep(stop, seconds)`
    returns early once `stop` is set; `on_retry` is told the error, the number of the try that ended with it, the wait.
    """

    def wait_seconds(state: tenacity.RetryCallState) -> float:
        """What ServiceTitan asked for, and no less than a doubling, jittered back-off."""
        doubled = settings.retry_initial_seconds * 2.0 ** (state.attempt_number - 1)
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - no secret
        return max(_stated(_error(state)), min(doubled, settings.retry_max_seconds) * jitter)

    def before_sleep(state: tenacity.RetryCallState) -> None:
        on_retry(_error(state), state.attempt_number, state.next_action.sleep if state.next_action else 0.0)

    def pause(seconds: float) -> None:
        sleep(stop, seconds)

    is_over = tenacity.stop_after_attempt(settings.max_attempts) | tenacity.stop_when_event_set(stop)

    return tenacity.Retrying(
        stop=lambda state: is_over(state) or state.upcoming_sleep >= deadline.seconds_left,
        wait=wait_seconds,
        retry=tenacity.retry_if_exception(lambda error: is_worth_a_retry(error, settings.retry_max_seconds)),
        sleep=pause,
        before_sleep=before_sleep,
        reraise=True,
    )


def is_worth_a_retry(error: BaseException, longest_wait_seconds: float) -> bool:
    """Would the same request help within this run? Not when ServiceTitan asks for a longer wait than we sit out.

    Only what ServiceTitan or the way to it did: a database that went away is not mended by asking ServiceTitan again.
    """
    theirs = isinstance(error, TransientApiError | InvalidApiResponseFormat | AuthError)
    return theirs and isinstance(error, PipelineError) and error.retry_helps and _stated(error) <= longest_wait_seconds


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _stated(error: BaseException | None) -> float:
    return (error.wait_seconds or 0.0) if isinstance(error, RateLimitExceeded | ServiceUnavailable) else 0.0
