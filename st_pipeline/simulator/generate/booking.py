"""Job types, call reasons and campaigns: what a call is booked under.

Here: those three. The first job types are those that invoices name. Not here: jobs.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from random import Random

from st_pipeline.simulator.clock import to_text
from st_pipeline.simulator.generate import people
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.invoices import JOB_TYPES
from st_pipeline.simulator.generate.registry import Record, changes, generates

PRIORITIES = ("Normal",) * 7 + ("High",) * 2 + ("Low", "Urgent")
_FURTHER_JOB_TYPES = (
    "Furnace Install",
    "AC Install",
    "Toilet Repair",
    "Leak Search",
    "Sewer Camera",
    "Sump Pump",
    "Gas Line",
    "Water Softener",
    "Duct Cleaning",
    "Thermostat",
    "Ductless Install",
    "Commercial PM",
    "Old: Misc (do not book)",
)
_REASONS = (
    ("No heat", True),
    ("No cooling", True),
    ("Leak", True),
    ("Wants an estimate", True),
    ("Membership question", False),
    ("Billing question", False),
    ("Wrong number", False),
    ("Job applicant", False),
    ("Reschedule", False),
    ("Vendor", False),
)
_CAMPAIGNS = (
    ("Google Ads – HVAC", "Google", "Online"),
    ("Google Ads – Plumbing", "Google", "Online"),
    ("Organic search", None, "Online"),
    ("Facebook Spring", "Facebook", "Social"),
    ("Nextdoor", "Nextdoor", "Social"),
    ("Direct mail: Fall tune-up", None, "Print"),
    ("Radio 97.1", None, "Radio"),
    ("Truck wrap", None, None),
    ("Referral", None, None),
    ("Existing customer", None, None),
    ("Door hangers 2019", None, "Print"),
    ("Home show", "Other", "Other"),
)


@generates(
    "job_types",
    count=lambda _: len(JOB_TYPES) + len(_FURTHER_JOB_TYPES),
    after=("business_units", "tag_types", "custom_fields.jobs"),
    when_asked=True,
)
def job_types(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Kinds of work; one is inactive."""
    names = JOB_TYPES + _FURTHER_JOB_TYPES
    units, tags, fields = (company.ids(entity) for entity in ("business_units", "tag_types", "custom_fields.jobs"))
    for _ in range(count):
        number = len(company.stores["job_types"])
        name = names[number % len(names)]
        created, modified = company.moments(chance)
        yield {
            "id": company.new_id("job_types"),
            "name": name if number < len(names) else f"{name} {number}",
            "businessUnitIds": [] if number % 4 == 0 else units[number % 3 : number % 3 + 2],
            "skills": ["Gas furnaces"] if "Furnace" in name or "Heat" in name else [],
            "tagTypeIds": tags[number % 5 : number % 5 + 1] if chance.random() < 0.3 else [],
            "priority": PRIORITIES[int(chance.random() * len(PRIORITIES))],
            "duration": (3600, 5400, 7200, 14400, 28800)[int(chance.random() * 5)],
            "soldThreshold": None if chance.random() < 0.4 else float(50 * int(chance.random() * 6)),
            "class": ("Service", "Install", "Maintenance")[number % 3],
            "summary": "" if number % 3 else f"{name}: ask for\n- age of the unit\n- last service",
            "noCharge": name in ("Estimate", "Warranty Call"),
            "enforceRecurringServiceEventSelection": None if chance.random() < 0.6 else name == "Tune-up",
            "invoiceSignaturesRequired": chance.random() < 0.6,
            "modifiedOn": to_text(modified),
            "createdOn": to_text(created),
            "externalData": None if chance.random() < 0.3 else [],
            "active": "do not book" not in name,
            "isSmartDispatched": chance.random() < 0.2,
            "defaultEstimateSoldAction": ("None", "CreateJob")[number % 2],
            "customFieldTypeIds": fields[: number % 3],
        }


@generates("call_reasons", count=lambda _: len(_REASONS), when_asked=True)
def call_reasons(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Why people call; one in ten is inactive."""
    for _ in range(count):
        number = len(company.stores["call_reasons"])
        name, is_lead = _REASONS[number % len(_REASONS)]
        created, modified = company.moments(chance)
        yield {
            "id": company.new_id("call_reasons"),
            "name": name if number < len(_REASONS) else f"{name} {number}",
            "isLead": is_lead,
            "active": company.now is not None or number % 10 != 7,
            "createdOn": to_text(created),
            "modifiedOn": to_text(modified),
        }


@generates("campaigns", count=lambda _: len(_CAMPAIGNS), after=("business_units",), when_asked=True)
def campaigns(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Where customers come from. ServiceTitan: `businessUnit` is a name here, not an id."""
    units = [str(record["name"]) for record in company.records("business_units")]
    for _ in range(count):
        number = len(company.stores["campaigns"])
        name, source, medium = _CAMPAIGNS[number % len(_CAMPAIGNS)]
        created, modified = company.moments(chance)
        yield {
            "id": company.new_id("campaigns"),
            "name": name if number < len(_CAMPAIGNS) else f"{name} {number}",
            "modifiedOn": to_text(modified),
            "createdOn": to_text(created),
            "active": "2019" not in name,
            "isDefaultCampaign": None if chance.random() < 0.2 else number == 9,
            "category": None
            if number % 4 == 3
            else {
                "id": company.catalogue.tax_zone_ids[2] + number % 3,
                "name": ("Digital", "Traditional", "Word of mouth")[number % 3],
                "active": True,
            },
            "source": source,
            "otherSource": "County fair" if source == "Other" else None,
            "businessUnit": units[number % len(units)] if units and number % 3 == 0 else None,
            "medium": medium,
            "otherMedium": "Booth" if medium == "Other" else None,
            "campaignPhoneNumbers": None
            if chance.random() < 0.3
            else [people.phone(chance) for _ in range(number % 3)],
        }


@changes("job_types")
def _edited_job_type(_: Company, chance: Random, job_type: Record) -> Record:
    return {
        "duration": int(job_type["duration"]) + 900,
        "priority": PRIORITIES[int(chance.random() * len(PRIORITIES))],
    }


@changes("call_reasons")
def _edited_reason(_: Company, __: Random, reason: Record) -> Record:
    return {"isLead": not reason["isLead"]}


@changes("campaigns")
def _edited_campaign(_: Company, chance: Random, __: Record) -> Record:
    return {"campaignPhoneNumbers": [people.phone(chance)]}
