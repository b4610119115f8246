"""Companies made up from a seed: households, sites, contacts, memberships, jobs, invoices, payments.

Here: one generator function per entity, what they share (`company`, `people`, `catalogue`, `ledger`) and how time moves
(`activity`). Not here: HTTP. To add an entity, write its generator and import its module below; paths, filters and
feeds come from `facts.json`.
"""

from st_pipeline.simulator.generate import (
    appointments,
    booking,
    crew,
    crm,
    custom_fields,
    equipment,
    estimates,
    invoice_changes,
    invoices,
    job_progress,
    jobs,
    memberships,
    office,
    payment_changes,
    payments,
)
from st_pipeline.simulator.generate.company import Company, Sizes, leave_empty, seed_company

__all__ = [
    "Company",
    "Sizes",
    "appointments",
    "booking",
    "crew",
    "crm",
    "custom_fields",
    "equipment",
    "estimates",
    "invoice_changes",
    "invoices",
    "job_progress",
    "jobs",
    "leave_empty",
    "memberships",
    "office",
    "payment_changes",
    "payments",
    "seed_company",
]
