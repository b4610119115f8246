"""Thresholds of checks: each check's own default, a value for everybody, a tenant's own.

Here: which value holds, and reading the setting. Not here: the table (postgres/check_thresholds.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class ThresholdKey(NamedTuple):
    """Which threshold. `entity`: the entity or asset it is for; empty for all of them."""

    entity: str
    check: str
    name: str


@dataclass(frozen=True, slots=True)
class Thresholds:
    """All values. A tenant's own come before everybody's, those for an entity before those for all entities."""

    defaults: Mapping[tuple[str, str], float]
    everybody: Mapping[ThresholdKey, float] = field(default_factory=dict)
    own: Mapping[tuple[int, ThresholdKey], float] = field(default_factory=dict)

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

    def smallest(self, check: str, name: str) -> float:
        """The smallest value that holds for anybody: what a query that looks for candidates may start from."""
        values = [value for key, value in self.everybody.items() if key[1:] == (check, name)]
        values += [value for (_, key), value in self.own.items() if key[1:] == (check, name)]
        return min([*values, self.defaults[check, name]])
