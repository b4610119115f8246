"""What a company has before it has customers: units, staff, price book, tax codes, accounts.

Here: small fixed lists with ids from the seed. Not here: the records; the generators of these entities use these ids.
"""

from dataclasses import dataclass
from functools import cache
from random import Random

import msgspec


def encoded(part: object) -> msgspec.Raw:
    """A part that is the same in many records, encoded once."""
    return msgspec.Raw(msgspec.json.encode(part))


@dataclass(frozen=True, slots=True)
class Sku:
    """One line of the price book; money in cents. Prices divide by four, so quarter hours cost whole cents."""

    id: int
    name: str
    display_name: str
    description: str
    kind: str
    price_cents: int
    cost_cents: int
    sold_hours: float
    taxable: bool
    by_quarters: bool


@dataclass(frozen=True, slots=True)
class Tax:
    """A sales tax: its rate, and `salesTaxCode` as invoices show it."""

    rate: float
    code: msgspec.Raw


_SKUS: tuple[tuple[str, str, str, str, int, int, float, bool, bool], ...] = (
    (
        "DIAG-01",
        "Diagnostic visit",
        "<p>Diagnostic visit, <b>first hour</b> included.</p>",
        "Service",
        8900,
        2400,
        1.0,
        False,
        False,
    ),
    ("LAB-HR", "Labour", "Labour per hour<br/>Billed by the quarter hour", "Service", 14500, 5200, 1.0, False, True),
    (
        "TUNE-AC",
        "A/C tune-up",
        "<ul><li>Coil cleaned</li><li>Charge checked</li></ul>",
        "Service",
        12900,
        4100,
        1.5,
        False,
        False,
    ),
    (
        "TUNE-HT",
        "Furnace tune-up",
        "Seasonal furnace tune-up & safety check",
        "Service",
        12900,
        4100,
        1.5,
        False,
        False,
    ),
    (
        "DRAIN-2",
        "Drain cleaning, main line",
        "Main line cleaned\nup to 100 ft",
        "Service",
        29800,
        9000,
        2.0,
        False,
        False,
    ),
    ("FLT-1625", '16" x 25" x 1" filter', '16" x 25" pleated filter', "Material", 1896, 740, 0.0, True, False),
    ("CAP-45", "Capacitor 45/5 MFD", "Dual run capacitor 45/5 µF 440V", "Material", 18900, 1460, 0.5, True, False),
    ("THERM-W", "Thermostat, Wi-Fi", "<p>Smart thermostat, installed</p>", "Material", 34900, 11200, 1.0, True, False),
    ("CU-34", "Copper pipe 3/4 in", "Type L copper, per foot", "Material", 1252, 480, 0.0, True, True),
    (
        "WH-50G",
        "Water heater 50 gal",
        "50 gal gas water heater, 6-year tank",
        "Equipment",
        189500,
        78000,
        4.0,
        True,
        False,
    ),
    ("FURN-80", "Furnace 80k BTU", "96% AFUE furnace", "Equipment", 438000, 165000, 8.0, True, False),
    ("AC-3T", "A/C 3 ton", "3 ton 16 SEER condenser + coil", "Equipment", 569900, 231000, 10.0, True, False),
)
_DISCOUNTS = (("MEM-DISC", "Member discount"), ("COUPON-25", "$25 off coupon"), ("VET", "Veteran's discount"))


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The lists of one company. Pairs are (id, name)."""

    business_units: tuple[tuple[int, str], ...]
    named_units: tuple[msgspec.Raw, ...]
    employees: tuple[tuple[int, str], ...]
    technicians: tuple[tuple[int, str], ...]
    employee_infos: tuple[msgspec.Raw, ...]
    tag_type_ids: tuple[int, ...]
    taxes: tuple[Tax, ...]
    tax_zone_ids: tuple[int, ...]
    payment_terms: tuple[tuple[int, str, int], ...]
    custom_fields: tuple[tuple[int, str, tuple[str, ...]], ...]
    skus: tuple[Sku, ...]
    discounts: tuple[Sku, ...]
    income: msgspec.Raw
    cost_of_sale: msgspec.Raw
    asset: msgspec.Raw
    undeposited: msgspec.Raw
    location_custom_fields: tuple[tuple[int, str, tuple[str, ...]], ...]

    @classmethod
    def of(cls, seed: int) -> "Catalogue":
        """The lists of the company with this seed."""
        return _catalogue(seed)

    @property
    def income_account(self) -> tuple[int, str]:
        """The account for sales: id and name."""
        account = msgspec.json.decode(self.income)
        return account["id"], account["name"]


@cache
def _catalogue(seed: int) -> Catalogue:
    chance = Random(f"{seed}:catalogue")  # noqa: S311 - made-up data
    last = 10_000_000 + int(chance.random() * 80_000_000)

    def new_id() -> int:
        nonlocal last
        last += 1 + int(chance.random() * 900)
        return last

    def pairs(*names: str) -> tuple[tuple[int, str], ...]:
        return tuple((new_id(), name) for name in names)

    def account(name: str, number: str, kind: str, detail: str) -> msgspec.Raw:
        return encoded({"id": new_id(), "name": name, "number": number, "type": kind, "detailType": detail})

    employees = pairs("Dana Whitfield", "Chris Ortega", "Sam O'Neil", "Avery Lindqvist", "Jordan Bright")
    units = pairs("HVAC Service", "HVAC Install", "Plumbing Service", "Plumbing - Drains")
    taxes = ((new_id(), "County", 0.0575), (new_id(), "City", 0.07125), (new_id(), "Exempt", 0.0))
    return Catalogue(
        business_units=units,
        named_units=tuple(encoded({"id": number, "name": name}) for number, name in units),
        employees=employees,
        employee_infos=tuple(
            encoded(
                {"id": number, "name": name, "modifiedOn": f"2026-03-{1 + number % 28:02}T09:12:44.{number % 9 + 1}1Z"}
            )
            for number, name in employees
        ),
        technicians=pairs("Terry Blanchard", "Alex Romero", "Morgan Petit", "Casey Nowak", "Jamie Fox", "Lee Duarte"),
        tag_type_ids=tuple(new_id() for _ in range(9)),
        taxes=tuple(Tax(rate, encoded({"id": number, "name": name, "taxRate": rate})) for number, name, rate in taxes),
        tax_zone_ids=tuple(new_id() for _ in range(4)),
        payment_terms=((new_id(), "Due Upon Receipt", 0), (new_id(), "Net 15", 15), (new_id(), "Net 30", 30)),
        custom_fields=(
            (new_id(), "Gate code", ("1234", "#4411*", "call first")),
            (new_id(), "Referred by", ("neighbor", "Google", "radio ad")),
            (new_id(), "Square feet", ("1800", "2450", "")),
        ),
        skus=tuple(Sku(new_id(), *sku) for sku in _SKUS),
        discounts=tuple(
            Sku(new_id(), name, label, label, "PriceModifier", 0, 0, 0.0, taxable=False, by_quarters=False)
            for name, label in _DISCOUNTS
        ),
        income=account("Service income", "4000", "Income", "ServiceFeeIncome"),
        cost_of_sale=account("Cost of goods sold", "5000", "CostOfGoodsSold", "SuppliesMaterialsCogs"),
        asset=account("Inventory asset", "1300", "OtherCurrentAsset", "Inventory"),
        # Last, so that the other ids of a seed do not change.
        undeposited=account("Undeposited funds", "1499", "OtherCurrentAsset", "UndepositedFunds"),
        location_custom_fields=(
            (new_id(), "Gate code", ("1234", "#4411*", "call first")),
            (new_id(), "Parking", ("street", "alley", "")),
            (new_id(), "Square feet", ("1800", "2450", "")),
        ),
    )
