"""Appointments: when somebody is at a job.

Here: new appointments, in the state of their job. Not here: their later changes, which come with those of their job.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

from st_pipeline.simulator.clock import TICKS_PER_DAY, TICKS_PER_SECOND, to_text, to_ticks
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, generates
from st_pipeline.simulator.store import Row

STATUS_OF = {"InProgress": "Working", "Completed": "Done"}  # by the job's status; the other statuses have the same name
_HOUR = 3600 * TICKS_PER_SECOND
_QUARTER = 900 * TICKS_PER_SECOND
_NOTES = ("Replaced capacitor.\nSystem cooling.", "Nobody home, left a door tag", "Quoted two options – will call back")
_KEYS = (
    "id", "customerId", "jobNumber", "jobStatus", "completedOn", "createdOn",
    "appointmentCount", "firstAppointmentId", "lastAppointmentId",
)  # fmt: skip


@generates(
    "appointments", count=lambda _: 0, after=("jobs", "technicians"), attached_to="jobs", follows=True, when_asked=True
)
def appointments(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """One to three for each job, which names the first and the last; on demand, another one for an open job."""
    technicians, waiting = company.ids("technicians"), company.newcomers["appointments"]
    keys = None if company.now is None else [waiting.popleft() for _ in range(len(waiting))]
    for job in company.heads("jobs", *_KEYS, keys=keys):
        ids = _ids(job)
        company.appointments_of[job.id] = ids
        for place, number in enumerate(ids):
            yield _appointment(company, chance, job, _visit(company, chance, job, place, len(ids)), number, technicians)
    for row in islice(company.suitable("jobs", chance, is_open), count):
        job = next(company.heads("jobs", *_KEYS, keys=[row.key]))
        ids = company.appointments_of[row.key]
        ids.append(company.new_id("appointments"))
        yield _appointment(company, chance, job, _visit(company, chance, job, 0, 1), ids[-1], technicians)
        company.touch("jobs", row.key, {"lastAppointmentId": ids[-1], "appointmentCount": len(ids)})


def is_open(job: Row) -> bool:
    """Is there still work to do?"""
    is_over = b'"jobStatus":"Completed"' in job.body or b'"jobStatus":"Canceled"' in job.body
    return job.active and not job.deleted and not is_over


def _ids(job: Any) -> list[int]:
    """The ids of a job's appointments; one between two has the number in the middle."""
    first, last = job.firstAppointmentId, job.lastAppointmentId
    return [first, (first + last) // 2, last] if job.appointmentCount > 2 else sorted({first, last})


@dataclass(frozen=True, slots=True)
class _Visit:
    """When it is, in ticks, and its state."""

    start: int
    end: int
    status: str
    booked: int


def _visit(company: Company, chance: Random, job: Any, place: int, of: int) -> _Visit:
    """The last one ends when the job is completed; those before it are done."""
    booked = to_ticks(job.createdOn)
    today = max(company.today(), booked)
    status = STATUS_OF.get(job.jobStatus, job.jobStatus)
    if job.completedOn is not None:
        step = (to_ticks(job.completedOn) - booked) // (of + 1)
        end = booked + step * (place + 2)
        start = end - min(2 * _HOUR, step)
    elif place + 1 < of and status in ("Dispatched", "Working"):
        start, status = booked + (today - booked) // 2, "Done"
        end = start + min(2 * _HOUR, (today - booked) // 4)
    else:
        lead = {"Working": -_HOUR, "Dispatched": _HOUR, "Canceled": 0}.get(status)
        start = today + (int((1 + chance.random() * 9) * TICKS_PER_DAY) * (place + 1) if lead is None else lead)
        start = booked + TICKS_PER_DAY if status == "Canceled" else start
        end = start + (1 + int(chance.random() * 4)) * _HOUR
    return _Visit(start - start % _QUARTER, end - end % _QUARTER, status, booked)


def _appointment(
    company: Company, chance: Random, job: Any, visit: _Visit, number: int, technicians: list[int]
) -> Record:
    done, canceled = visit.status == "Done", visit.status == "Canceled"
    created, modified = company.moments_from(chance, visit.booked, edited_after=visit.end if done else visit.booked)
    place = company.appointments_of[job.id].index(number)
    window = chance.random() < 0.8
    return {
        "id": number,
        "jobId": job.id,
        "appointmentNumber": f"{job.jobNumber}-{place + 1}",
        "start": to_text(visit.start),
        "end": to_text(visit.end),
        "arrivalWindowStart": to_text(visit.start) if window else None,
        "arrivalWindowEnd": to_text(visit.start + 2 * _HOUR) if window else None,
        "status": visit.status,
        "specialInstructions": None if chance.random() < 0.7 else "Call on the way\nBeware of dog",
        "createdOn": to_text(created),
        "modifiedOn": to_text(modified),
        "customerId": job.customerId,
        "unused": canceled and chance.random() < 0.3,
        "createdById": company.catalogue.employees[int(chance.random() * 5)][0],
        "isConfirmed": done or chance.random() < 0.6,
        "active": not (canceled and chance.random() < 0.3),
        "appointmentSummaries": summaries(chance, technicians, job.id, number, modified) if done else None,
    }


def summaries(chance: Random, technicians: list[int], job_id: int, number: int, moment: int) -> list[Record] | None:
    """What technicians wrote afterwards."""
    if not technicians or chance.random() < 0.3:
        return None if chance.random() < 0.5 else []
    text = to_text(moment)
    return [
        {
            "createdOn": text,
            "jobAppointmentId": number,
            "jobId": job_id,
            "modifiedOn": text,
            "notes": _NOTES[int(chance.random() * len(_NOTES))],
            "technicianId": technicians[int(chance.random() * len(technicians))],
        }
    ]
