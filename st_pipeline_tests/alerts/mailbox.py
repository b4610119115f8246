"""A mail server on loopback that keeps what it gets.

Here: as much of SMTP as a sender needs. Not here: tests.
"""

import email
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import BinaryIO

ANSWERS = {b"EHLO": b"250 mailbox", b"DATA": b"354 go on", b"QUIT": b"221 bye"}


@dataclass
class Mailbox:
    """What arrived."""

    port: int
    mails: list[Message] = field(default_factory=list)

    def parts(self) -> dict[str, str]:
        """The text of the one mail, by type."""
        (mail,) = self.mails
        leaves = (part for part in mail.walk() if not part.is_multipart())
        return {part.get_content_type(): part.get_payload(decode=True).decode() for part in leaves}  # type: ignore[union-attr]


@contextmanager
def mailbox() -> Iterator[Mailbox]:
    """One that takes one mail."""
    server = socket.create_server(("127.0.0.1", 0))
    box = Mailbox(server.getsockname()[1])
    thread = threading.Thread(target=_serve, args=(server, box), daemon=True)
    thread.start()
    yield box
    server.close()
    thread.join(timeout=10)


def _serve(server: socket.socket, box: Mailbox) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rwb") as stream:
        _say(stream, b"220 mailbox")
        for line in iter(stream.readline, b""):
            word = line.split()[0].upper()
            _say(stream, ANSWERS.get(word, b"250 ok"))
            if word == b"DATA":
                box.mails.append(email.message_from_bytes(b"".join(iter(stream.readline, b".\r\n"))))
                _say(stream, b"250 ok")
            elif word == b"QUIT":
                return


def _say(stream: BinaryIO, answer: bytes) -> None:
    stream.write(answer + b"\r\n")
    stream.flush()
