"""Query parameters: from text to typed values, 400 for malformed ones.

Here: a request's parameters, as documented. Not here: which records they select.
ServiceTitan: a parameter it does not know is ignored; a known one with a malformed value is a 400.
"""

import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

from st_pipeline.simulator.api_catalogue import Parameter
from st_pipeline.simulator.clock import to_ticks
from st_pipeline.simulator.responses import Refused, invalid, invalid_value

MAXIMUM_IDS = 50  # ServiceTitan: "maximum 50" on every `ids`; nothing is documented for `customerIds` and the like
_WHOLE_NUMBER = re.compile(r"[+-]?\d{1,19}\Z")
_BITS = {"int32": 31, "int64": 63}


class Query:
    """The known, non-empty parameters of one request, parsed on demand."""

    def __init__(self, query_string: bytes, known: dict[str, Parameter]) -> None:
        self._known = known
        self.given: dict[str, list[str]] = {}
        for name, value in parse_qsl(query_string.decode("utf-8", "replace"), keep_blank_values=True):
            if value != "" and name in known:
                self.given.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self.given

    def value(self, name: str, default: Any = None) -> Any:
        """The typed value, `default` when absent. Raises Refused (400) when malformed."""
        if name not in self.given:
            return default
        return read(self._known[name], self.given[name])

    def looks_into(self) -> list[str]:
        """Other entities that these parameters filter by."""
        parameters = (self._known[name] for name in self.given)
        return [parameter.through[0] for parameter in parameters if parameter.through]

    def key(self, *without: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The parameters as a cache key."""
        return tuple(sorted((name, tuple(values)) for name, values in self.given.items() if name not in without))


def read(parameter: Parameter, texts: list[str]) -> Any:
    """The value of one parameter; a list may repeat the parameter or use commas."""
    kind = parameter.kind
    if kind == "ids":
        values = [_scalar(parameter, "int64", part) for part in ",".join(texts).split(",") if part.strip()]
        if parameter.name == "ids" and len(values) > MAXIMUM_IDS:
            raise Refused(invalid(parameter.name, f"The maximum number of ids is {MAXIMUM_IDS}."))
        return set(values)
    if kind.startswith("array:"):
        return {_scalar(parameter, kind[6:], part.strip()) for part in ",".join(texts).split(",") if part.strip()}
    return _scalar(parameter, kind, texts[0])


def _scalar(parameter: Parameter, kind: str, text: str) -> Any:
    try:
        return _convert(parameter, kind, text)
    except (ValueError, InvalidOperation, OverflowError):
        raise Refused(invalid_value(parameter.name, text)) from None


def _convert(parameter: Parameter, kind: str, text: str) -> Any:
    if kind in _BITS:
        return _whole_number(text, _BITS[kind])
    if kind == "enum":
        return {value.lower(): value for value in parameter.values}.get(text.lower()) or _fail(text)
    return _CONVERTERS.get(kind, str)(text)


def _whole_number(text: str, bits: int) -> int:
    number = int(text) if _WHOLE_NUMBER.match(text.strip()) else 1 << bits
    return number if -(1 << bits) <= number < 1 << bits else _fail(text)


def _number(text: str) -> Decimal:
    number = Decimal(text)
    return number if number.is_finite() else _fail(text)


def _boolean(text: str) -> bool:
    return text.lower() == "true" if text.lower() in ("true", "false") else _fail(text)


def _fail(text: str) -> Any:
    raise ValueError(text)


_CONVERTERS: dict[str, Callable[[str], Any]] = {
    "decimal": _number,
    "double": _number,
    "boolean": _boolean,
    "date-time": to_ticks,
    "guid": UUID,
}
