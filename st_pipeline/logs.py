"""How log lines are written: one line an event, the same keys everywhere, JSON on request.

Here: the one configuration, for the command and for Dagster's processes. Not here: what is logged.
Keys: tenant, entity, sync_id, page, records, seconds, status, endpoint. Never a secret, a token or a record.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from st_pipeline.plain_text import plain
from st_pipeline.settings import Settings


def configure_logs(settings: Settings) -> None:
    """Write events of the settings' level and above to standard error, in the settings' form."""
    as_json = settings.log_format == "json"
    form = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    for library in ("httpx", "httpcore"):  # at INFO they write whole addresses, feed positions and all
        logging.getLogger(library).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _plain_values,
            form,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        # Looked up for each line: standard error may be another one by then.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _plain_values(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Values that came from outside may end in a terminal."""
    return {key: plain(value) if isinstance(value, str) else value for key, value in event.items()}
