"""Jobs: the work that invoices, appointments and estimates belong to.

Here: new jobs. A job in history belongs to an invoice, which names its number and type; open and canceled jobs have no
invoice. Not here: the progress of jobs.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import msgspec

from st_pipeline.simulator.clock import TICKS_PER_DAY, TICKS_PER_SECOND, to_text, to_ticks
from st_pipeline.simulator.generate.booking import PRIORITIES
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, generates
from st_pipeline.simulator.store import Row

DELETED_SHARE, ESTIMATED_SHARE = 0.03, 0.33  # deleted: of those without an invoice
CANCELED_SHARE, OPEN_SHARE = 0.1, 0.06  # of the number of invoices: jobs that have none
_HOUR = 3600 * TICKS_PER_SECOND
_OPEN = ("Scheduled",) * 6 + ("Dispatched",) * 2 + ("InProgress",) * 2 + ("Hold",)
_APPOINTMENTS = (1,) * 85 + (2,) * 12 + (3,) * 3
_OPTIONS = (1,) * 12 + (2,) * 3 + (3,) * 4 + (4,)
_SUMMARIES = (
    "<p>Customer reports <b>no cooling</b> upstairs.</p>",
    "Annual tune-up. Gate code 1234.",
    "<div>Slow drain, kitchen</div><ul><li>snaked in 2023</li></ul>",
    "No heat; elderly customer – call ahead ☎",
    None,
    "",
)


class _Named(msgspec.Struct):
    id: int
    type: str | None = None
    number: str | None = None


class _Invoice(msgspec.Struct):
    """What a job takes from its invoice."""

    id: int
    job: _Named | None
    customer: _Named
    location: _Named
    businessUnit: _Named | None  # noqa: N815 - the record's own key
    createdOn: str  # noqa: N815
    modifiedOn: str  # noqa: N815
    total: str


_invoice = msgspec.json.Decoder(_Invoice)


@generates(
    "jobs",
    count=lambda _: 0,
    after=("invoices", "equipment", "memberships", "technicians", "job_types", "campaigns"),
    attached_to="invoices",
    follows=True,
    when_asked=True,
)
def jobs(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """The jobs of invoices first, then those without one."""
    sources = _Sources.of(company)
    waiting, history = company.newcomers["jobs"], company.now is None
    rows = company.stores["invoices"].rows
    billed = list(rows.values()) if history else [rows[waiting.popleft()] for _ in range(len(waiting))]
    for row in billed:
        invoice = _invoice.decode(row.body) if row.made else None
        if invoice is not None and invoice.job is not None:
            yield _job(company, chance, sources, _billed(company, chance, sources, invoice, invoice.job))
    closed, opened = _how_many(company) if history else (0, count)
    for number in range(closed + opened):
        location = company.pick_row("locations", chance)
        if location is None:
            return
        plan = _unbilled(company, chance, sources, location, is_open=number >= closed)
        yield _job(company, chance, sources, plan)


def _how_many(company: Company) -> tuple[int, int]:
    invoices = company.sizes.invoices
    return int(invoices * CANCELED_SHARE), int(invoices * OPEN_SHARE) + (invoices > 0)


@dataclass(slots=True)
class _Sources:
    """What jobs refer to, read once for many jobs."""

    job_types: dict[str, int]
    units: list[int]
    campaigns: list[int]
    technicians: list[int]
    tags: list[int]
    fields: list[tuple[int, str, list[str] | None]]
    equipment: dict[int, list[int]]
    members: dict[int, int]
    before: dict[int, tuple[int, list[int]]] = field(default_factory=dict)  # by location: its last job and estimates

    @classmethod
    def of(cls, company: Company) -> "_Sources":
        equipment: dict[int, list[int]] = {}
        for unit in company.heads("equipment", "id", "locationId"):
            equipment.setdefault(unit.locationId, []).append(unit.id)
        memberships = company.heads("memberships", "id", "customerId", "status")
        return cls(
            {head.name: head.id for head in company.heads("job_types", "id", "name")},
            company.ids("business_units"),
            company.ids("campaigns"),
            company.ids("technicians"),
            company.ids("tag_types"),
            [(one["id"], one["name"], one["dataTypeOptions"]) for one in company.records("custom_fields.jobs")],
            equipment,
            {head.customerId: head.id for head in memberships if head.status == "Active"},
        )


@dataclass(slots=True)
class _Plan:
    """The facts of one job; the rest of its record is random. Times in ticks."""

    id: int
    number: str
    customer_id: int
    location_id: int
    unit_id: int
    type_id: int
    invoice_id: int
    total: float
    status: str
    created: int
    modified: int
    completed: int | None


def _any(chance: Random, ids: list[int], none_share: float = 0.0) -> int:
    """One of `ids`. Seen live: 0 when there is none."""
    return 0 if not ids or chance.random() < none_share else ids[int(chance.random() * len(ids))]


def _billed(company: Company, chance: Random, sources: _Sources, invoice: _Invoice, job: _Named) -> _Plan:
    created = to_ticks(invoice.createdOn)
    done = created + 4 * _HOUR + int(chance.random() ** 3 * 20 * TICKS_PER_DAY)
    over = company.now is None and done < company.today()
    status = "Scheduled" if not over else "Canceled" if chance.random() < 0.02 else "Completed"
    completed = done if over and (status == "Completed" or chance.random() < 0.3) else None
    created, modified = company.moments_from(
        chance, created, edited_after=max(completed or created, to_ticks(invoice.modifiedOn))
    )
    return _Plan(
        id=job.id,
        number=job.number or str(job.id),
        customer_id=invoice.customer.id,
        location_id=invoice.location.id,
        unit_id=invoice.businessUnit.id if invoice.businessUnit else 0,
        type_id=sources.job_types.get(job.type or "") or _any(chance, list(sources.job_types.values())),
        invoice_id=invoice.id,
        total=float(invoice.total),
        status=status,
        created=created,
        modified=modified,
        completed=completed,
    )


def _unbilled(company: Company, chance: Random, sources: _Sources, location: Row, *, is_open: bool) -> _Plan:
    """A job without an invoice: `invoiceId` and the total are 0."""
    today, number = company.today(), company.new_id("jobs")
    born = max(location.created, today - int(chance.random() * 14 * TICKS_PER_DAY)) if is_open else location.created
    created, modified = company.moments(chance, after=born)
    ended = created + 2 * TICKS_PER_DAY
    return _Plan(
        id=number,
        number=str(number)[-7:],
        customer_id=location.as_dict()["customerId"],
        location_id=location.key,
        unit_id=_any(chance, sources.units, none_share=0.03),
        type_id=_any(chance, list(sources.job_types.values())),
        invoice_id=0,
        total=0.0,
        status=(_OPEN[int(chance.random() * len(_OPEN))] if company.now is None else "Scheduled")
        if is_open
        else "Canceled",
        created=created,
        modified=modified,
        completed=ended
        if not is_open and ended <= min(modified, today)
        else None,  # ServiceTitan: canceled jobs can have one
    )


def _job(company: Company, chance: Random, sources: _Sources, plan: _Plan) -> Record:
    appointments = sorted(company.new_id("appointments") for _ in range(_APPOINTMENTS[int(chance.random() * 100)]))
    options = _OPTIONS[int(chance.random() * len(_OPTIONS))] if chance.random() < ESTIMATED_SHARE else 0
    estimates = [company.new_id("estimates") for _ in range(options)]
    before, sold = sources.before.get(plan.location_id, (None, []))
    sources.before[plan.location_id] = (plan.id, estimates)
    gone = company.now is None and plan.invoice_id == 0 and chance.random() < DELETED_SHARE
    if gone:
        company.bury("jobs", plan.id)
    return {
        "id": plan.id,
        "jobNumber": plan.number,
        "projectId": company.new_id("projects") if chance.random() < 0.02 else None,
        "customerId": plan.customer_id,
        "locationId": plan.location_id,
        "jobStatus": plan.status,
        "completedOn": None if plan.completed is None else to_text(plan.completed),
        "businessUnitId": plan.unit_id,
        "jobTypeId": plan.type_id,
        "priority": PRIORITIES[int(chance.random() * len(PRIORITIES))],
        "campaignId": _any(chance, sources.campaigns, none_share=0.02),
        "appointmentCount": len(appointments),
        "firstAppointmentId": appointments[0],
        "lastAppointmentId": appointments[-1],
        "recallForId": before if before and chance.random() < 0.03 else None,
        "warrantyId": before if before and chance.random() < 0.02 else None,
        "jobGeneratedLeadSource": _lead(chance, before, sources),
        "noCharge": plan.total == 0 and chance.random() < 0.6,
        "notificationsEnabled": chance.random() < 0.8,
        "createdOn": to_text(plan.created),
        "createdById": company.catalogue.employees[int(chance.random() * 5)][0],
        "modifiedOn": to_text(plan.modified),
        "tagTypeIds": sorted({_any(chance, sources.tags) for _ in range(int(chance.random() * 3)) if sources.tags}),
        **_more(company, chance, sources, plan),
        "createdFromEstimateId": sold[0] if sold and chance.random() < 0.1 else None,
        "estimateIds": estimates,
        "equipmentIds": sources.equipment.get(plan.location_id, []) if chance.random() < 0.4 else [],
        "isAutoDispatched": None if chance.random() < 0.3 else chance.random() < 0.1,
        "summary": _SUMMARIES[int(chance.random() * len(_SUMMARIES))],
        "customFields": _custom_fields(chance, sources),
        "externalData": None if chance.random() < 0.2 else [],
        "summaryOfWork": None if chance.random() < 0.7 else "Found capacitor weak – replaced.",
        "active": not gone,
    }


def _more(company: Company, chance: Random, sources: _Sources, plan: _Plan) -> Record:
    return {
        "leadCallId": company.new_id("calls") if chance.random() < 0.6 else None,
        "partnerLeadCallId": None,
        "bookingId": company.new_id("bookings") if chance.random() < 0.1 else None,
        "soldById": (_any(chance, sources.technicians) or None) if chance.random() < 0.3 else None,
        "customerPo": None if chance.random() < 0.5 else f"PO-{plan.number}" if chance.random() < 0.2 else "",
        "invoiceId": plan.invoice_id,
        "membershipId": sources.members.get(plan.customer_id) if chance.random() < 0.7 else None,
        "total": plan.total,
    }


def _lead(chance: Random, before: int | None, sources: _Sources) -> Record | None:
    if chance.random() < 0.9:
        return None
    return {"jobId": before, "employeeId": _any(chance, sources.technicians) or None}


def _custom_fields(chance: Random, sources: _Sources) -> list[Record]:
    if not sources.fields or chance.random() < 0.6:
        return []
    type_id, name, options = sources.fields[int(chance.random() * len(sources.fields))]
    values = options or ["0.5", "P-2291", ""]
    value = None if chance.random() < 0.3 else values[int(chance.random() * len(values))]
    return [{"typeId": type_id, "name": name, "value": value}]
