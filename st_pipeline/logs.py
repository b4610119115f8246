"""How log lines are written: one line per event, the same keys everywhere, JSON on request.

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
    """Write events of the configured level and above to standard error, in the configured format."""
    as_json = settings.log_format == "json"
    form = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    for library in ("httpx", "httpcore"):  # at INFO they log whole addresses, feed tokens included
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
        # Looked up for each line: standard error may have been replaced.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )


def configure_logs_of_a_program(settings: Settings) -> None:
    """The same for a program that calls us, unless it has configured structlog in its own way."""
    if not structlog.is_configured():
        configure_logs(settings)


def _plain_values(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Values may come from outside, and the line may be printed to a terminal."""
    return {key: plain(value) if isinstance(value, str) else value for key, value in event.items()}
