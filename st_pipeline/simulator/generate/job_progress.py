"""The progress of jobs and their appointments: scheduled, dispatched, in progress, completed.

Here: one such step, of a job or of one of its appointments. Not here: new jobs.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from random import Random

from st_pipeline.simulator.clock import TICKS_PER_DAY, to_text, to_ticks
from st_pipeline.simulator.generate.appointments import STATUS_OF, summaries
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes

_NEXT = {"Scheduled": "Dispatched", "Dispatched": "InProgress", "InProgress": "Completed", "Hold": "Scheduled"}
_ENDED = ("Done", "Canceled")


@changes("jobs")
def _next_step(company: Company, chance: Random, job: Record) -> Record:
    """One step on; sometimes on hold or canceled. A job that is over gets another tag or summary."""
    status = job["jobStatus"]
    if status not in _NEXT:
        tags = company.ids("tag_types")
        return {"tagTypeIds": tags[: 1 + int(chance.random() * 3)], "summaryOfWork": "Invoice mailed again."}
    dice = chance.random()
    after = "Canceled" if dice < 0.04 else "Hold" if dice < 0.08 and status != "Hold" else _NEXT[status]
    for number in company.appointments_of.get(job["id"], ()):
        _follow(company, chance, number, STATUS_OF.get(after, after))
    return {"jobStatus": after, "completedOn": to_text(company.today()) if after == "Completed" else None}


def _follow(company: Company, chance: Random, number: int, status: str) -> None:
    appointment = company.record("appointments", number)
    if appointment is None or appointment["status"] in _ENDED:
        return
    company.touch("appointments", number, {"status": status, **_report(company, chance, appointment, status)})


def _report(company: Company, chance: Random, appointment: Record, status: str) -> Record:
    if status != "Done":
        return {}
    technicians = company.ids("technicians")
    made = summaries(chance, technicians, appointment["jobId"], appointment["id"], company.today())
    return {"appointmentSummaries": made, "isConfirmed": True}


@changes("appointments")
def _next_appointment_step(company: Company, chance: Random, appointment: Record) -> Record:
    """It goes on together with its job, or is postponed by a day. One that is over gets a new text."""
    if appointment["status"] in _ENDED:
        return _report(company, chance, appointment, "Done")
    job = company.record("jobs", appointment["jobId"])
    if job is None or job["jobStatus"] not in _NEXT or chance.random() < 0.3:
        return {key: _a_day_later(appointment[key]) for key in _TIMES if appointment[key] is not None}
    company.touch("jobs", job["id"], _next_step(company, chance, job))
    return {}


_TIMES = ("start", "end", "arrivalWindowStart", "arrivalWindowEnd")


def _a_day_later(moment: str) -> str:
    return to_text(to_ticks(moment) + TICKS_PER_DAY)
