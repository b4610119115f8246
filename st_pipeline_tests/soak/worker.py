"""A process that polls what is due, or loads what is named; the soak kills it at random.

Here: the order on standard input, the product's own functions, the figures on standard output. Not here: when it runs.
"""

import json
import logging
import resource
import sys
import uuid
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from st_pipeline.errors import PipelineError, TenantBusy
from st_pipeline.postgres.database import main_url, open_engine
from st_pipeline.settings import Settings
from st_pipeline.sync.configuration import SyncConfiguration
from st_pipeline.sync.functions import synchronize_data
from st_pipeline.sync.poll_worker import PollWorker


@dataclass
class Figures:
    """What a worker did. `failures`: by tenant, of polls or loads, in words. `peak_kb`: its largest memory."""

    ended: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    peak_kb: int = 0


def main() -> None:
    """Carry the order out: `{"settings": {…}, "loads": [tenants]}`; without loads, poll."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    order: dict[str, Any] = json.load(sys.stdin)
    settings, figures = Settings(**order["settings"]), Figures()
    engine = open_engine(main_url(settings))
    if order["loads"]:
        for tenant in order["loads"]:
            _load(tenant, settings, figures)
    else:
        for poll in PollWorker(engine, settings, uuid.uuid4()).polls():
            tenant = poll.claim.partition_key
            figures.ended.append(tenant)
            if poll.error is not None and not isinstance(poll.error, TenantBusy):
                figures.failures[tenant] = str(poll.error)
            elif poll.result is not None and not poll.result.success:
                figures.failures[tenant] = "; ".join(poll.result.errors)
    engine.dispose()
    figures.peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    json.dump(asdict(figures), sys.stdout)


def _load(tenant: str, settings: Settings, figures: Figures) -> None:
    """A full sync of the tenant."""
    engine = open_engine(main_url(settings))
    try:
        result = synchronize_data(tenant, SyncConfiguration(incremental_only=False), settings=settings, engine=engine)
    except PipelineError as error:
        figures.failures[tenant] = str(error)
    else:
        figures.ended.append(tenant)
        if not result.success:
            figures.failures[tenant] = "; ".join(result.errors)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
