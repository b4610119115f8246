"""The body of a page: the JSON around its records.

Here: decoding it, and repairing text that JSON does not allow. Not here: which page comes next; what a record contains:
its bytes are kept as they came.
"""

import re
from collections.abc import Sequence

import msgspec

from st_pipeline.errors import InvalidApiResponseFormat


class Envelope(msgspec.Struct, rename="camel"):
    """The keys of lists and feeds together. Unknown keys are ignored."""

    data: list[msgspec.Raw]
    has_more: bool
    continue_from: str | None = None
    total_count: int | None = None


class _Identified(msgspec.Struct):
    id: int


_envelope = msgspec.json.Decoder(Envelope)
_identified = msgspec.json.Decoder(_Identified)
_CONTROL_TO_SPACE = bytes(max(byte, 0x20) for byte in range(256))
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def read_envelope(body: bytes, doing: str) -> Envelope:
    """Decode a page. Invalid text in one record does not cost the whole page.

    Raises InvalidApiResponseFormat that names the missing or mistyped key. Records are not copied: each keeps the bytes
    of its page in memory.
    """
    try:
        try:
            return _envelope.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return _envelope.decode(repaired(body))
    except msgspec.ValidationError as error:  # its text names keys and types, never a value
        raise InvalidApiResponseFormat(f"{doing}: the response is not a page: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidApiResponseFormat(f"{doing}: the body is not a JSON page; was it cut off on the way?") from None


def repaired(body: bytes) -> bytes:
    """The body with unpaired surrogates as U+FFFD and unescaped control characters as spaces: JSON allows neither."""
    return _ESCAPE.sub(_repair_escape, body.translate(_CONTROL_TO_SPACE))


def _repair_escape(match: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if match["half"] else match[0]


def record_ids(records: Sequence[msgspec.Raw], doing: str) -> set[int]:
    """The records' ids. Raises InvalidApiResponseFormat for a record without one."""
    try:
        return {_identified.decode(record).id for record in records}
    except msgspec.DecodeError:
        raise InvalidApiResponseFormat(f"{doing}: a record has no id") from None
