"""Behaviour of ServiceTitan that is not documented: each a setting, with the most likely default.

Here: names, defaults, and changing them. Not here: the faults that a test sets. Settings are for the process, and a
tenant can override them, so that tests which share a server do not disturb each other.
"""

from typing import Any, Literal

import msgspec


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One set of behaviours; docs/simulator.md explains each."""

    page_size_over_maximum: Literal["reject", "clamp"] = "reject"
    export_page_size: int = 5000
    export_page_sizes: dict[str, int] = {}
    export_token_lifetime_seconds: float | None = None
    recent_changes_lag_seconds: float = 900
    recent_repeats: int = 3
    token_lifetime_seconds: int = 900
    app_key_error_status: Literal[401, 403] = 401
    other_tenant_answer: Literal["403", "gateway_404"] = "403"
    rate_limit_per_second: int | None = 60
    retry_after_header: bool = False
    invoices_active_state_default: Literal["All", "ActiveOnly"] = "All"
    bare_sort: Literal["ascending", "reject"] = "ascending"
    default_order: Literal["id", "shuffled"] = "id"
    null_rate: float = 0.0
    enum_rate: float = 0.0
    extra_key_rate: float = 0.0
    server_error_rate: float = 0.0
    html_rate: float = 0.0
    cut_body_rate: float = 0.0
    slow_rate: float = 0.0
    slow_seconds: float = 101.0
    row_changes_between_pages: bool = False


def with_changes(settings: Settings, changes: dict[str, Any]) -> Settings:
    """`settings` with these changes. Raises msgspec.ValidationError for an unknown name or a wrong value."""
    return msgspec.convert({**msgspec.structs.asdict(settings), **changes}, Settings)
