"""Which errors are retried, and how long a request waits before it is sent again.

Here: retries within a request, in seconds. Not here: retries in minutes (the next poll, a run's policy), sending.
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
    """Calls a function until it succeeds, its error is not worth a retry, or no tries are left.

    It also ends when `stop` is set, and when the next wait would last beyond the deadline. The last error is raised as
    it is. `sleep(stop, seconds)` returns early when `stop` is set; `on_retry` gets the error, the number of the try
    that failed, and the wait.
    """

    def wait_seconds(state: tenacity.RetryCallState) -> float:
        """As long as ServiceTitan asked for, but at least an exponential back-off with jitter."""
        doubled = settings.retry_initial_seconds * 2.0 ** (state.attempt_number - 1)
        jitter = random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
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
    """May the same request succeed soon? Not when ServiceTitan asks for a longer wait than `longest_wait_seconds`.

    Only errors of ServiceTitan or the network: asking ServiceTitan again does not bring a lost database back.
    """
    theirs = isinstance(error, TransientApiError | InvalidApiResponseFormat | AuthError)
    return theirs and isinstance(error, PipelineError) and error.retry_helps and _stated(error) <= longest_wait_seconds


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None


def _stated(error: BaseException | None) -> float:
    return (error.wait_seconds or 0.0) if isinstance(error, RateLimitExceeded | ServiceUnavailable) else 0.0
