"""The code server that the UI and the daemon share: noticing that its process is gone, and starting it again.

Here: asking and starting again. Not here: the processes of a whole Dagster (__main__).

Dagster's proxy, whose child has loaded our code, does not notice when that child is killed, as by a machine that is out
of memory: until somebody reloads the code in the UI there would be no schedules, no sensor and no runs.
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from dagster._core.errors import DagsterUserCodeUnreachableError

log = structlog.get_logger()

ASK_EVERY_SECONDS = 5.0
SILENT = 2  # answers in a row that did not come: one alone may be a machine that is too busy
TRIES = 3
RELOAD_TIMEOUT_SECONDS = 180


class CodeServer(Protocol):
    """Dagster's client of a code server, as far as it is used here."""

    def ping(self, echo: str) -> dict[str, Any]:
        """Raises DagsterUserCodeUnreachableError."""

    def reload_code(self, timeout: int) -> Any:
        """Load the code in a new process."""


def keep_alive(server: CodeServer, wait: Callable[[float], bool]) -> bool:
    """Start the code server again whenever it does not answer. `wait`: returns True when it is to end.

    Returns False when it did not start again: then only a restart of everything helps.
    """
    silent = tries = 0
    while not wait(ASK_EVERY_SECONDS):
        if _answers(server):
            silent = tries = 0
            continue
        silent += 1
        if silent < SILENT:
            continue
        if tries == TRIES:
            return False
        tries += 1
        log.warning("code server started again", because="it does not answer", attempt=tries)
        # The proxy may be gone, too, or says goodbye to the dead process in vain: the next answer tells.
        with contextlib.suppress(DagsterUserCodeUnreachableError):
            server.reload_code(RELOAD_TIMEOUT_SECONDS)
    return True


def watch(server: CodeServer, stopped: threading.Event, on_lost: Callable[[], None]) -> threading.Thread:
    """Keep it alive in a thread until `stopped` is set. `on_lost` is called when that was in vain."""

    def work() -> None:
        if not keep_alive(server, stopped.wait):
            on_lost()

    thread = threading.Thread(target=work, name="code-server-watch", daemon=True)
    thread.start()
    return thread


def _answers(server: CodeServer) -> bool:
    try:
        server.ping("")
    except DagsterUserCodeUnreachableError:
        return False
    return True
