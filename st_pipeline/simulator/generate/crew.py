"""Technicians.

Here: those, and their edits. The first six are those of the catalogue, which invoices and memberships name. Not here:
which jobs they are sent to.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from random import Random

from st_pipeline.simulator.clock import TICKS_PER_DAY, to_day_text, to_text
from st_pipeline.simulator.generate import people
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates

INACTIVE_SHARE = 0.12
_LICENSES = ("ManagedTech",) * 6 + ("ManagedInstaller",) * 2 + ("NonManagedTech",)
_FILTERS = ("AllScheduledDispatchedWorkingToday", "NextScheduledDispatchedWorking", "DispatchedWorking")
_POSITIONS: tuple[list[str], ...] = (["Service"], ["Installer", "Helper"], ["Service", "Sales"], ["Maintenance"], [])
_SKILLS = ("Gas furnaces", "Heat pumps", "Tankless", "Backflow", "Boilers")


@generates(
    "technicians",
    count=lambda sizes: sizes.technicians,
    after=("business_units",),
    when_asked=True,
)
def technicians(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """The technicians; some have left."""
    known, units = company.catalogue.technicians, company.ids("business_units")
    for _ in range(count):
        number = len(company.stores["technicians"])
        made_up = (
            people.FIRST[int(chance.random() * len(people.FIRST))],
            people.LAST[int(chance.random() * len(people.LAST))],
        )
        technician_id, name = (
            known[number] if number < len(known) else (company.new_id("technicians"), " ".join(made_up))
        )
        first, _, last = name.partition(" ")
        created, modified = company.moments(chance)
        left = company.now is None and number >= len(known) and chance.random() < INACTIVE_SHARE
        yield {
            "id": technician_id,
            "userId": company.new_id("users"),
            "name": name,
            "roleIds": None if chance.random() < 0.1 else [company.catalogue.tax_zone_ids[0] % 1000 + number % 3],
            "businessUnitId": None if not units or chance.random() < 0.1 else units[int(chance.random() * len(units))],
            "mainZoneId": None if chance.random() < 0.5 else company.catalogue.tax_zone_ids[0],
            "zoneIds": None if chance.random() < 0.3 else list(company.catalogue.tax_zone_ids[: number % 3]),
            "createdOn": to_text(created),
            "modifiedOn": to_text(modified),
            "email": None if chance.random() < 0.1 else f"{first}.{last}{number}@example.com".lower(),
            "phoneNumber": None if chance.random() < 0.2 else people.phone(chance),
            "loginName": f"{first[0]}{last}{number}".lower() if chance.random() < 0.9 else None,
            "home": None if chance.random() < 0.3 else _home(chance),
            "dailyGoal": float(500 + 250 * int(chance.random() * 9)),
            "isManagedTech": chance.random() < 0.8,
            "licenseType": None if chance.random() < 0.1 else _LICENSES[int(chance.random() * 9)],
            "customFields": None if chance.random() < 0.5 else [],
            "active": not left,
            "aadUserId": None,
            "burdenRate": round(8 + chance.random() * 10, 2),
            "team": None if chance.random() < 0.4 else ("North", "South", "Install")[number % 3],
            "jobFilter": None if chance.random() < 0.3 else _FILTERS[number % 3],
            "permissions": None if chance.random() < 0.3 else [{"id": 12, "value": None}, {"id": 31, "value": "Own"}],
            "accountLocked": None if chance.random() < 0.3 else left,
            **_pay(company, chance, first, last),
            "startDate": None if chance.random() < 0.2 else to_day_text(created - 30 * TICKS_PER_DAY),
            "status": "Idle" if left or chance.random() < 0.6 else ("Dispatched", "Working", "Meal")[number % 3],
            **_abilities(chance, number),
            "location": None if chance.random() < 0.4 else _whereabouts(chance, modified),
            "bio": None if chance.random() < 0.5 else f"<p>{first} has been with us <b>since day one</b>.</p>",
            "memo": None if chance.random() < 0.8 else "Van 12;\tdrives own tools",
        }


def _abilities(chance: Random, number: int) -> Record:
    skills = [{"id": 50 + place, "name": _SKILLS[place]} for place in range(number % 4)]
    return {
        "skills": None if chance.random() < 0.2 else skills,
        "positions": None if chance.random() < 0.1 else _POSITIONS[number % 5],
    }


def _pay(company: Company, chance: Random, first: str, last: str) -> Record:
    return {
        "commissionRate": round(chance.random() / 10, 4),
        "currentValue": None if chance.random() < 0.3 else round(chance.random() * 3000, 2),
        "firstName": first,
        "lastName": last,
        "hourlyRate": round(22 + chance.random() * 30, 2),
        "jobId": None,
        "mobilePhone": None if chance.random() < 0.2 else people.phone(chance),
        "outboundCallerId": None,
        "payrollId": f"E{company.new_id('users') % 100_000}" if chance.random() < 0.6 else None,
        "payrollProfileId": company.catalogue.tax_zone_ids[1] if chance.random() < 0.6 else None,
        "appoitmentId": None,  # ServiceTitan's spelling
        "shiftStart": "07:30:00" if chance.random() < 0.7 else None,
        "shiftEnd": "16:30:00" if chance.random() < 0.7 else None,
        "soldByRate": round(chance.random() / 20, 4),
    }


def _home(chance: Random) -> Record:
    address = people.address(chance)
    keys = ("street", "unit", "country", "city", "state", "zip")
    return {
        **{key: address[key] for key in keys},
        "streetAddress": address["street"],
        "latitude": address["latitude"],
        "longitude": address["longitude"],
    }


def _whereabouts(chance: Random, moment: int) -> Record:
    place = people.address(chance)
    return {
        "latitude": place["latitude"],
        "longitude": place["longitude"],
        "coordinatesUpdatedOn": to_text(moment) if place["latitude"] is not None else None,
    }


@changes("technicians")
def _edited_technician(company: Company, chance: Random, technician: Record) -> Record:
    if chance.random() < 0.3:
        return {"hourlyRate": round(technician["hourlyRate"] + 1.25, 2)}
    return {
        "status": ("Idle", "Dispatched", "Working", "Meal")[int(chance.random() * 4)],
        "location": _whereabouts(chance, company.today()),
    }
