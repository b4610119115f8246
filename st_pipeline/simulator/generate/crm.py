"""Customers, their locations, and the contacts of both.

Here: those four, and how each is edited. Not here: what they bought.
"""

# ruff: noqa: PLR2004 - shares and weights of made-up data, each used once

from collections.abc import Iterator
from random import Random
from typing import Any

from st_pipeline.simulator.clock import to_text
from st_pipeline.simulator.generate import people
from st_pipeline.simulator.generate.company import Company
from st_pipeline.simulator.generate.registry import Record, changes, generates

MERGED_SHARE, INACTIVE_SHARE, DELETED_CONTACTS_SHARE = 0.015, 0.03, 0.02
COMMERCIAL_SHARE, NO_TYPE_SHARE = 0.12, 0.01
_CONTACT_TYPES = ("MobilePhone",) * 8 + ("Phone",) * 5 + ("Email",) * 6 + ("Fax",)


@generates("customers", count=lambda sizes: sizes.customers)
def customers(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Households and firms; some are inactive, some are merged into an earlier one."""
    catalogue = company.catalogue
    for _ in range(count):
        number = len(company.stores["customers"])
        commercial = chance.random() < COMMERCIAL_SHARE
        created, modified = company.moments(chance)
        state, survivor = chance.random(), None
        if company.now is None and state < MERGED_SHARE:
            survivor = company.pick_row("customers", chance)
        inactive = survivor is not None or (company.now is None and state > 1 - INACTIVE_SHARE)
        yield {
            "id": company.new_id("customers"),
            "active": not inactive,
            "name": people.customer_name(chance, number, commercial),
            "type": None if chance.random() < NO_TYPE_SHARE else "Commercial" if commercial else "Residential",
            "address": people.address(chance),
            "customFields": _custom_fields(company.catalogue.custom_fields, chance),
            "balance": 0.0,
            "taxExempt": chance.random() < 0.03,
            "tagTypeIds": _tags(company, chance),
            "doNotMail": chance.random() < 0.05,
            "doNotService": chance.random() < 0.01,
            "nationalAccount": commercial and chance.random() < 0.05,
            "createdOn": to_text(created),
            "createdById": _any_id(chance, catalogue.employees),
            "modifiedOn": to_text(modified),
            "mergedToId": survivor.key if survivor else None,
            "paymentTermId": catalogue.payment_terms[int(chance.random() * 3)][0] if chance.random() < 0.3 else None,
            "creditLimit": 5000.0 if commercial else None,
            "creditLimitBalance": 5000.0 if commercial else None,
            "externalData": None if chance.random() < 0.2 else [],
        }


@generates(
    "locations",
    count=lambda sizes: sizes.customers * 5 // 4,
    after=("customers",),
    attached_to="customers",
    per_newcomer=1,
)
def locations(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Every customer's own address first, then more sites of some."""
    catalogue = company.catalogue
    for number in range(count):
        first = bool(company.newcomers["locations"])
        owner = company.owner("locations", "customers", chance)
        if owner is None:
            return
        created, modified = company.moments(chance, after=owner.created)
        customer = owner.as_dict()
        yield {
            "id": company.new_id("locations"),
            "customerId": customer["id"],
            "active": company.now is not None or chance.random() > 0.02,
            "name": customer["name"] if first else f"{customer['name']} - site {number}",
            "address": customer["address"] if first else people.address(chance),
            "customFields": _custom_fields(company.catalogue.location_custom_fields, chance),
            "createdOn": to_text(created),
            "createdById": _any_id(chance, catalogue.employees),
            "modifiedOn": to_text(modified),
            "mergedToId": None,
            "zoneId": None if chance.random() < 0.4 else catalogue.tax_zone_ids[0],
            "taxExempt": customer["taxExempt"],
            "tagTypeIds": _tags(company, chance),
            "externalData": None if chance.random() < 0.2 else [],
            "taxZoneId": None if chance.random() < 0.3 else catalogue.tax_zone_ids[int(chance.random() * 4)],
        }


@generates(
    "customer_contacts",
    count=lambda sizes: sizes.customers * 21 // 10,
    after=("customers",),
    attached_to="customers",
    per_newcomer=2,
)
def customer_contacts(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Phones, mobiles, mail, fax. ServiceTitan: a contact does not change its customer's `modifiedOn`."""
    for _ in range(count):
        owner = company.owner("customer_contacts", "customers", chance)
        if owner is None:
            return
        created, modified = company.moments(chance, after=owner.created)
        kind = _CONTACT_TYPES[int(chance.random() * len(_CONTACT_TYPES))]
        value = people.email(chance) if kind == "Email" else people.phone(chance)
        contact_id = company.new_id("customer_contacts")
        gone = company.now is None and chance.random() < DELETED_CONTACTS_SHARE
        if gone:
            company.bury("customer_contacts", contact_id)
        yield {
            "modifiedOn": to_text(modified),
            # Documented as never null, but likely to be null for an e-mail address.
            "phoneSettings": None if kind == "Email" else _phone_settings(value, chance.random() < 0.1),
            "createdOn": to_text(created),
            "preferences": None if chance.random() < 0.3 else _preferences(chance),
            "id": contact_id,
            "type": kind,
            "value": value,
            "memo": None
            if chance.random() < 0.7
            else ("wife", "office", "after 5pm\nonly", "Owner's cell")[int(chance.random() * 4)],
            "customerId": owner.key,
            "active": not gone,
        }


@generates(
    "location_contacts",
    count=lambda sizes: sizes.customers * 3 // 2,
    after=("locations",),
    attached_to="locations",
    per_newcomer=1,
    when_asked=True,
)
def location_contacts(company: Company, chance: Random, count: int) -> Iterator[Record]:
    """Like those of customers, for most locations: tenants, janitors, gates."""
    for _ in range(count):
        owner = company.owner("location_contacts", "locations", chance)
        if owner is None:
            return
        created, modified = company.moments(chance, after=owner.created)
        kind = _CONTACT_TYPES[int(chance.random() * len(_CONTACT_TYPES))]
        value = people.email(chance) if kind == "Email" else people.phone(chance)
        contact_id = company.new_id("location_contacts")
        gone = company.now is None and chance.random() < DELETED_CONTACTS_SHARE
        if gone:
            company.bury("location_contacts", contact_id)
        yield {
            "id": contact_id,
            "type": kind,
            "value": value,
            "memo": None if chance.random() < 0.6 else ("tenant", "janitor", "gate\nbox")[int(chance.random() * 3)],
            "phoneSettings": None if kind == "Email" else _phone_settings(value, chance.random() < 0.1),
            "modifiedOn": to_text(modified),
            "createdOn": to_text(created),
            "preferences": None if chance.random() < 0.4 else _preferences(chance),
            "locationId": owner.key,
            "active": not gone,
        }


@changes("customers")
def _edited_customer(company: Company, chance: Random, customer: Record) -> Record:
    if chance.random() < 0.5:
        return {"address": people.address(chance)}
    return {"doNotMail": not customer["doNotMail"], "tagTypeIds": _tags(company, chance)}


@changes("locations")
def _edited_location(company: Company, chance: Random, location: Record) -> Record:
    return {
        "address": people.address(chance),
        "tagTypeIds": _tags(company, chance),
        "taxExempt": not location["taxExempt"],
    }


@changes("location_contacts")
@changes("customer_contacts")
def _edited_contact(_: Company, chance: Random, contact: Record) -> Record:
    if contact["type"] == "Email":
        return {"value": people.email(chance)}
    value = people.phone(chance)
    return {"value": value, "phoneSettings": _phone_settings(value, do_not_text=False)}


def _phone_settings(value: str, do_not_text: bool) -> dict[str, Any]:
    return {"phoneNumber": "".join(filter(str.isdigit, value)), "doNotText": do_not_text}


def _preferences(chance: Random) -> dict[str, bool]:
    return {
        "jobRemindersEnabled": chance.random() < 0.8,
        "marketingUpdatesEnabled": chance.random() < 0.3,
        "invoiceStatementNotification": chance.random() < 0.5,
        "invoiceNotification": chance.random() < 0.5,
        "statementNotification": chance.random() < 0.2,
    }


def _any_id(chance: Random, pairs: tuple[tuple[int, str], ...]) -> int:
    return pairs[int(chance.random() * len(pairs))][0]


def _tags(company: Company, chance: Random) -> list[int]:
    tags = company.catalogue.tag_type_ids
    return sorted({tags[int(chance.random() * len(tags))] for _ in range(int(chance.random() * 3))})


def _custom_fields(fields: tuple[tuple[int, str, tuple[str, ...]], ...], chance: Random) -> list[dict[str, Any]]:
    if chance.random() < 0.6:
        return []
    type_id, name, values = fields[int(chance.random() * 3)]
    return [
        {"typeId": type_id, "name": name, "value": None if chance.random() < 0.1 else values[int(chance.random() * 3)]}
    ]
