"""Business units and tag types.

Here: those two. The first of each are those of the catalogue, which customers, invoices and memberships name; larger
companies have more. Not here: technicians, job types.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from random import Random

from st_pipeline.simulator.clock import to_text
from st_pipeline.simulator.generate import people
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates

_FURTHER_UNITS = (
    "Electrical",
    "HVAC Maintenance",
    "Plumbing Install",
    "Water Treatment",
    "Commercial HVAC",
    "Commercial Plumbing",
    "Sewer & Excavation",
    "Generators",
)
_TAGS = (
    ("VIP", "#FFD700"),
    ("Do not charge", "#D0021B"),
    ("Warranty", "#4A90E2"),
    ("Bad debt", "#000000"),
    ("Needs two techs", "#F5A623"),
    ("Dog on site", "#8B572A"),
    ("Financing", "#7ED321"),
    ("Recall", "#BD10E0"),
    ("Rental property", "#9B9B9B"),
    ("Opportunity: 10+ year old unit", "#50E3C2"),
    ("Spanish speaking", "#417505"),
    ("Gated – call ahead", "#F8E71C"),
    ("Parts ordered", "#B8E986"),
    ("Old tag (do not use)", "#C0C0C0"),
)


@generates("business_units", count=lambda sizes: sizes.business_units, when_asked=True)
def business_units(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Departments; in a large company the last one is inactive."""
    known = company.catalogue.business_units
    for _ in range(count):
        number = len(company.stores["business_units"])
        unit_id, name = known[number] if number < len(known) else (company.new_id("business_units"), _unit(number))
        created, modified = company.moments(chance)
        yield {
            "id": unit_id,
            "active": company.now is not None or number < len(known) or number + 1 < count,
            "name": name,
            "officialName": None if chance.random() < 0.3 else f"{name} of Ohio, LLC",
            "email": None if number == 2 else people.email(chance).lower(),
            "currency": None if chance.random() < 0.5 else "USD",
            "phoneNumber": people.phone(chance),
            "invoiceHeader": f"<div><b>{name}</b><br/>Licensed &amp; insured</div>",
            "invoiceMessage": None if chance.random() < 0.4 else "<p>Thank you for your business!</p>",
            "defaultTaxRate": None if chance.random() < 0.3 else 0.0575,
            "authorizationParagraph": "I authorize the work described.\nPayment is due upon completion.",
            "acknowledgementParagraph": None if number % 3 == 1 else "<p>I find the work <i>satisfactory</i>.</p>",
            "address": None if number == 3 else _address(chance),
            "materialSku": None,
            "quickbooksClass": name.split()[0] if chance.random() < 0.7 else None,
            "accountCode": str(100 + number) if chance.random() < 0.8 else None,
            "franchiseId": None,
            "conceptCode": None,
            "corporateContractNumber": None,
            "trade": _named(company, chance, ("HVAC", "Plumbing", "Electrical"), number),
            "division": _named(company, chance, ("Residential", "Commercial"), number),
            "tagTypeIds": None if chance.random() < 0.5 else [company.catalogue.tag_type_ids[number % 9]],
            "tenant": None if chance.random() < 0.5 else _tenant(company, modified),
            "createdOn": to_text(created),
            "modifiedOn": to_text(modified),
            "externalData": None if chance.random() < 0.5 else [],
            "certifiedSentriconSpecialistCode": None,
        }


def _unit(number: int) -> str:
    place = number - 4
    name = _FURTHER_UNITS[place % len(_FURTHER_UNITS)]
    return name if place < len(_FURTHER_UNITS) else f"{name} {number}"


def _address(chance: Random) -> Record:
    return {**people.address(chance), "isManualCoordinates": chance.random() < 0.1, "isMilitary": False}


def _named(company: Company, chance: Random, names: tuple[str, ...], number: int) -> Record | None:
    place = number % len(names)
    return None if chance.random() < 0.2 else {"id": company.catalogue.tax_zone_ids[0] + place, "name": names[place]}


def _tenant(company: Company, modified: int) -> Record:
    return {
        "id": company.catalogue.tax_zone_ids[3],
        "name": "Headquarters",
        "accountCode": None,
        "franchiseId": None,
        "conceptCode": None,
        "modifiedOn": to_text(modified),
    }


@generates("tag_types", count=lambda _: len(_TAGS), when_asked=True)
def tag_types(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Labels for customers, locations, jobs and more; one is inactive."""
    known = company.catalogue.tag_type_ids
    for _ in range(count):
        number = len(company.stores["tag_types"])
        name, color = _TAGS[number % len(_TAGS)]
        created, modified = company.moments(chance)
        yield {
            "id": known[number] if number < len(known) else company.new_id("tag_types"),
            "name": name if number < len(_TAGS) else f"{name} {number}",
            "color": color,
            "code": "".join(word[0] for word in name.split()).upper(),
            "importance": (None, "Medium", None, "High")[number % 4],
            "isConversionOpportunity": name.startswith("Opportunity"),
            "allowToUseOnTimesheetActivity": number % 5 == 0,
            "isVisibleOnDispatchBoard": chance.random() < 0.8,
            "active": "do not use" not in name,
            "createdOn": to_text(created),
            "modifiedOn": to_text(modified),
        }


@changes("business_units")
def _edited_unit(_: Company, chance: Random, unit: Record) -> Record:
    return {
        "phoneNumber": people.phone(chance),
        "invoiceMessage": f"<p>Now also open on Saturdays – {unit['name']}</p>",
    }


@changes("tag_types")
def _edited_tag(_: Company, chance: Random, tag: Record) -> Record:
    return {
        "color": f"#{int(chance.random() * 0xFFFFFF):06X}",
        "isVisibleOnDispatchBoard": not tag["isVisibleOnDispatchBoard"],
    }
