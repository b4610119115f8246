"""ServiceTitan's own totals: how many records its lists show that were created before a moment.

Here: asking, one request an entity. Not here: what is compared with them (rules/).

No transaction is open meanwhile. Once the first question is answered, the others are asked a few at a time, within the
tenant's rate limit: at 200 ms a request they would keep a worker for 4 s. A source that does not answer is not asked
for the tenant's other entities; one that keeps a question waiting is not asked for other tenants for a minute, as runs
ask between two tenants.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

import structlog

from st_pipeline.checks.spec import CheckInput
from st_pipeline.entities.spec import EntitySpec
from st_pipeline.errors import DatabaseUnavailable, PipelineError, TransientApiError
from st_pipeline.postgres.database import transaction
from st_pipeline.servicetitan.client import ServiceTitanClient
from st_pipeline.servicetitan.deadline import NO_DEADLINE
from st_pipeline.servicetitan.network import CONNECTIONS, SharedConnections
from st_pipeline.servicetitan.pages import total
from st_pipeline.tenants.poll_tenants import PollTenant, load_poll_tenants
from st_pipeline.tenants.store import PostgresTokenStore
from st_pipeline.validation.timestamps import written

# A check can wait for the next one, and so nothing is tried twice: a sync that waits for it cannot.
TENANT_SECONDS, REQUEST_SECONDS = 20.0, 10.0
SLOW_SECONDS, PAUSE_SECONDS = 5.0, 60.0
AT_ONCE = CONNECTIONS

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Question:
    """How many records of an entity were created before this moment?"""

    credential_id: int
    spec: EntitySpec
    created_before: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """`total` None: the list shows none, or it could not be asked, and `why_not` says why.

    `is_silent`: no question to the source would be answered.
    """

    question: Question
    total: int | None
    why_not: str | None = None
    is_silent: bool = False


@dataclass(slots=True)
class SlowSources:
    """APIs that kept a question waiting and did not answer it, by address, each until when it is not asked."""

    clock: Callable[[], float] = time.monotonic
    until: dict[str, float] = field(default_factory=dict)

    def is_paused(self, address: str) -> bool:
        """Is it not asked now?"""
        return self.until.get(address, -math.inf) > self.clock()

    def note(self, address: str, seconds: float) -> None:
        """A question was not answered in so many seconds."""
        if seconds >= SLOW_SECONDS:
            self.until[address] = self.clock() + PAUSE_SECONDS


SLOW = SlowSources()


def ask(asked: CheckInput, questions: Sequence[Question]) -> Iterator[Answer]:
    """An answer to each question. Raises DatabaseUnavailable."""
    by_tenant = sorted(questions, key=lambda question: question.credential_id)
    ids = {question.credential_id for question in by_tenant}
    if not ids:
        return
    with transaction(asked.engine, "read the credentials of tenants to check") as connection:
        tenants = load_poll_tenants(connection, asked.settings, ids)
    with closing(SharedConnections()) as connections:
        for credential_id, own in groupby(by_tenant, key=lambda question: question.credential_id):
            yield from _ask_tenant(asked, tenants.get(credential_id), connections, list(own))


def _ask_tenant(
    asked: CheckInput, tenant: PollTenant | None, connections: SharedConnections, questions: Sequence[Question]
) -> Iterator[Answer]:
    if tenant is None or tenant.authentication is None:
        yield from (Answer(question, None, "its keys do not open") for question in questions)
        return
    if SLOW.is_paused(tenant.authentication.api_url):
        yield from (Answer(question, None, "the API keeps questions waiting") for question in questions)
        return
    seconds = min(asked.settings.request_timeout_seconds, REQUEST_SECONDS)
    settings = asked.settings.model_copy(update={"max_attempts": 1, "request_timeout_seconds": seconds})
    client = ServiceTitanClient(
        tenant.authentication,
        settings,
        store=PostgresTokenStore(asked.engine, settings, tenant.tenant),
        deadline=NO_DEADLINE.within(TENANT_SECONDS, f"a tenant's totals may take {TENANT_SECONDS:g} s"),
        connections=connections,
        token=tenant.token,
    )
    began = time.monotonic()
    first = _answer(client, questions[0], [])
    silent = [first] if first.is_silent else []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield from (first, *threads.map(lambda question: _answer(client, question, silent), questions[1:]))
    took = time.monotonic() - began
    if silent:
        SLOW.note(tenant.authentication.api_url, took)
    log.info(
        "totals asked",
        tenant=tenant.tenant.partition_key,
        entities=len(questions),
        requests=client.statistics.requests,
        seconds=round(took, 3),
    )


def _answer(client: ServiceTitanClient, question: Question, silent: list[Answer]) -> Answer:
    """The answer to one question. `silent`: answers of a source that does not answer; it is asked nothing more."""
    if silent:
        return Answer(question, None, silent[0].why_not, is_silent=True)
    try:
        shown = total(client, question.spec, created_before=written(question.created_before))
    except DatabaseUnavailable:
        raise
    except PipelineError as error:
        is_silent = error.ends_tenant or isinstance(error, TransientApiError)
        answer = Answer(question, None, type(error).__name__, is_silent=is_silent)
        if is_silent:
            silent.append(answer)
        return answer
    return Answer(question, shown)
