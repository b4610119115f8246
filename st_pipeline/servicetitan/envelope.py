"""The body of a page: what stands around its records.

Here: reading it, text that JSON does not allow included. Not here: which page comes next (pages.py), what a record
holds: a record may be anything, and stays the bytes it came as.
"""

import re
from collections.abc import Sequence

import msgspec

from st_pipeline.errors import InvalidApiResponseFormat


class Envelope(msgspec.Struct, rename="camel"):
    """What lists and feeds have in common, and what each adds. Unknown keys are ignored."""

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
    """Read a page. Text in one record that JSON does not allow must not cost the whole page.

    Raises InvalidApiResponseFormat that names the key that is missing or of another type. Records are not copied: each
    keeps its page's bytes alive.
    """
    try:
        try:
            return _envelope.decode(body)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            return _envelope.decode(mended(body))
    except msgspec.ValidationError as error:  # its text names keys and types, never a value
        raise InvalidApiResponseFormat(f"{doing}: the answer is no page: {error}") from None
    except (msgspec.DecodeError, RecursionError):
        raise InvalidApiResponseFormat(f"{doing}: the body is no JSON page; cut off on its way?") from None


def mended(body: bytes) -> bytes:
    """The body with half surrogate pairs as U+FFFD and bare control characters as spaces; both are no JSON."""
    return _ESCAPE.sub(_mend_escape, body.translate(_CONTROL_TO_SPACE))


def _mend_escape(match: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if match["half"] else match[0]


def ids_of(records: Sequence[msgspec.Raw], doing: str) -> set[int]:
    """The records' ids. Raises InvalidApiResponseFormat for a record without one."""
    try:
        return {_identified.decode(record).id for record in records}
    except msgspec.DecodeError:
        raise InvalidApiResponseFormat(f"{doing}: a record has no id") from None
