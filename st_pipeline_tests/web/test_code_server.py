"""A code server whose process is gone is started again; where that is in vain, everything ends to be restarted."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from dagster._core.errors import DagsterUserCodeUnreachableError

from st_pipeline.web.code_server import SILENT, TRIES, keep_alive


@dataclass
class Server:
    """A code server by a script: in which turns it answers without help, and whether a reload brings it back."""

    silent_turns: set[int]
    comes_back: bool = True
    is_dead: bool = False
    turn: int = 0
    reloads: list[int] = field(default_factory=list)

    def ping(self, echo: str) -> dict[str, Any]:
        """As Dagster's."""
        if self.is_dead or self.turn in self.silent_turns:
            raise DagsterUserCodeUnreachableError("gone")
        return {"echo": echo}

    def reload_code(self, timeout: int) -> None:  # noqa: ARG002 - as Dagster's
        """As Dagster's, which fails although the new process is there."""
        self.reloads.append(self.turn)
        self.is_dead &= not self.comes_back
        raise DagsterUserCodeUnreachableError("as where it says goodbye to the dead process")

    def wait(self, _seconds: float) -> bool:
        """A turn begins; the sixth one turns it dead; after 20 it is to end."""
        self.turn += 1
        self.is_dead |= self.turn == 6
        return self.turn == 20


def test_a_dead_code_server_is_started_again_once():
    server = Server(set())
    assert keep_alive(server, server.wait)
    assert server.reloads == [6 + SILENT - 1]


@pytest.mark.parametrize("silent_turns", [{2}, {2, 4}])
def test_one_answer_that_does_not_come_is_no_reason(silent_turns: set[int]):
    server = Server(silent_turns)
    assert keep_alive(server, server.wait)
    assert len(server.reloads) == 1, "that of the sixth turn"


def test_one_that_does_not_come_back_is_given_up():
    server = Server(set(), comes_back=False)
    assert not keep_alive(server, server.wait)
    assert len(server.reloads) == TRIES
