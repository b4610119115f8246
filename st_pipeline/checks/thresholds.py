"""Thresholds of checks: each check's own default, a value for everybody, a tenant's own.

Here: their names, and which value holds. Not here: a tenant's own as a table (postgres/check_thresholds.py).
"""

import difflib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from sqlalchemy import Connection

from st_pipeline.errors import ConfigurationError
from st_pipeline.postgres import check_thresholds
from st_pipeline.settings import Settings, variable_name
from st_pipeline.sync.data_types import SYNCED

if TYPE_CHECKING:
    from st_pipeline.checks.spec import Check


class ThresholdKey(NamedTuple):
    """Which threshold. `entity`: the entity or stream it is for; empty for all of them."""

    entity: str
    check: str
    name: str

    def __str__(self) -> str:
        """As people write it: `invoices.rejected.share`."""
        return ".".join(part for part in self if part)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """All values. A tenant's own come before everybody's, those for an entity before those for all entities."""

    defaults: Mapping[tuple[str, str], float]
    everybody: Mapping[ThresholdKey, float] = field(default_factory=dict)
    own: Mapping[tuple[int, ThresholdKey], float] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        connection: Connection,
        settings: Settings,
        checks: Sequence["Check"],
        credential_ids: Collection[int] | None = None,
    ) -> Self:
        """Those of these tenants (None: of all). Raises ConfigurationError: the setting names none, or a bad value."""
        everybody = {}
        for name, value in settings.check_thresholds.items():
            try:
                key = named(name, checks)
                everybody[key] = allowed(key, value)
            except ConfigurationError as error:
                raise ConfigurationError(f"{variable_name('check_thresholds')}: {error}") from None
        own = {
            (one.credential_id, ThresholdKey(one.entity, one.check, one.name)): one.value
            for one in check_thresholds.load(connection, credential_ids)
        }
        defaults = {(check.name, one.name): one.default for check in checks for one in check.thresholds}
        return cls(defaults, everybody, own)

    def value(self, credential_id: int, asset: str, check: str, name: str) -> float:
        """The value for a tenant and an entity or asset. Raises KeyError: the check has no such threshold."""
        keys = (ThresholdKey(asset, check, name), ThresholdKey("", check, name))
        if self.own:
            for key in keys:
                if (credential_id, key) in self.own:
                    return self.own[credential_id, key]
        for key in keys:
            if key in self.everybody:
                return self.everybody[key]
        return self.defaults[check, name]

    def entities_of(self, credential_id: int, check: str, name: str) -> list[str]:
        """Empty for all entities, then those that have a value of their own."""
        keys = [*self.everybody, *(key for of, key in self.own if of == credential_id)]
        return sorted({"", *(key.entity for key in keys if key[1:] == (check, name))})

    def smallest(self, check: str, name: str) -> float:
        """The smallest value that holds for anybody: what a query that looks for candidates may start from."""
        values = [value for key, value in self.everybody.items() if key[1:] == (check, name)]
        values += [value for (_, key), value in self.own.items() if key[1:] == (check, name)]
        return min([*values, self.defaults[check, name]])


def named(written: str, checks: Sequence["Check"]) -> ThresholdKey:
    """The threshold of a name such as `rejected.share` or `invoices.rejected.share`. Raises ConfigurationError."""
    known = {(check.name, one.name) for check in checks for one in check.thresholds}
    names = sorted(".".join(pair) for pair in known)
    *entity, check, name = ["", "", *written.split(".")][-3:]
    key = ThresholdKey(entity[0], check, name)
    if written.count(".") not in (1, 2) or (key.check, key.name) not in known:
        similar = difflib.get_close_matches(".".join(written.split(".")[-2:]), names, 3)
        hint = f"did you mean {' or '.join(similar)}?" if similar else "`st-pipeline checks show` lists them"
        raise ConfigurationError(f"{written!r} is not a threshold of a check: {hint}")
    if key.entity and key.entity not in SYNCED:
        similar = difflib.get_close_matches(key.entity, SYNCED, 3)
        hint = f"; did you mean {' or '.join(similar)}?" if similar else ""
        raise ConfigurationError(f"{written!r}: {key.entity} is not an entity or stream{hint}")
    return key


def allowed(key: ThresholdKey, value: float) -> float:
    """The value. Raises ConfigurationError: it can't be one of this threshold."""
    if not math.isfinite(value) or value < 0:
        raise ConfigurationError(f"{key}: {value:g} is not a number of 0 or more")
    if key.name.endswith("share") and value > 1:
        raise ConfigurationError(f"{key}: {value:g} is not a share from 0 to 1; 2 % is 0.02")
    return value
