"""Names, addresses, phone numbers: ordinary and unusual ones.

Here: words, and combining them. Not here: records. Phone numbers are of the fictional form 555-01xx, mail addresses in
reserved domains.
"""

# ruff: noqa: PLR2004, SIM905 - shares and weights of made-up data, each used once; word lists read better as text

from random import Random
from typing import Any

FIRST = (
    "James Mary Robert Patricia John Jennifer Michael Linda David Elizabeth William Barbara Richard Susan "
    "Joseph Jessica Thomas Karen Carlos Maria Daniel Nancy Matthew Lisa Anthony Sandra Mark Ashley Steven "
    "Kim Andrew Donna Luis Carol Joshua Amanda Kevin Melissa Brian Deborah Jorge Wei Priya Ahmed Olga "
    "Yusuf Hannah Grace Tyrone Nguyen"
).split()
LAST = (
    "Smith Johnson Williams Brown Jones Garcia Miller Davis Rodriguez Martinez Hernandez Lopez Gonzalez "
    "Wilson Anderson Thomas Taylor Moore Jackson Martin Lee Perez Thompson White Harris Sanchez Clark "
    "Ramirez Lewis Robinson Walker Young Allen King Wright Scott Torres Hill Flores Green Adams Nelson "
    "Baker Hall Rivera Campbell Mitchell Carter Kowalski Tran"
).split()
ODD = (
    "O'Brien, Siobhán",
    "Smith, John",
    "John & Mary Smith",
    "Pieter van der Berg",
    "José Ángel Muñoz-Peña",
    'Robert "Bob" Tanner',
    "  Leading Spaces",
    "Trailing Spaces  ",
    "Tab\tBetween",
    "Zoë 🏠 Keller",
    "王小明",
    "山田 太郎",
    "Nguyễn Thị Hồng",
    "Владимир Петров",
    "محمد الأحمد",
    "A" + "very" * 60 + "long name indeed",
    "Null",
    "N/A",
    "Back\\slash & <b>Tags</b>; DROP TABLE customers;--",
    "Two\nLines",
    "D’Angelo–Straße",
    "Mr. & Mrs. Wm. H. McDonald III",
    "x",
)
TRADES = (
    "Property Group",
    "Bakery",
    "Dental",
    "Apartments",
    "School District",
    "Church",
    "Logistics",
    "Brewing Co",
    "Hotel",
)
FORMS = ("LLC", "Inc.", "Ltd", "& Sons", "Co.", "of Ohio, LLC")
STREETS = (
    "Main St",
    "Oak Ave",
    "Maple Dr",
    "Cedar Ln",
    "2nd St NE",
    "County Road 12",
    "Elm Court",
    "St. John's Blvd",
    "Hwy 61",
)
PLACES = (
    ("Columbus", "OH", "43004", 39.96, -82.99),
    ("Dublin", "OH", "43016", 40.09, -83.11),
    ("St. Paul", "MN", "55101", 44.95, -93.09),
    ("Duluth", "MN", "55802", 46.78, -92.10),
    ("Boise", "ID", "83702", 43.61, -116.20),
    ("Coeur d'Alene", "ID", "83814", 47.67, -116.78),
    ("Peñasco", "NM", "87553", 36.16, -105.68),
    ("New Braunfels", "TX", "78130", 29.70, -98.12),
    ("Winston-Salem", "NC", "27101", 36.09, -80.24),
    ("Agawam", "MA", "01001", 42.06, -72.61),
)
_ODD_EVERY = 17  # every 17th customer has an unusual name, each in turn


def customer_name(chance: Random, number: int, commercial: bool) -> str:
    """The name of the n-th customer."""
    if number % _ODD_EVERY == 3:
        return ODD[number // _ODD_EVERY % len(ODD)]
    last = LAST[int(chance.random() * len(LAST))]
    if commercial:
        return f"{last} {TRADES[int(chance.random() * len(TRADES))]} {FORMS[int(chance.random() * len(FORMS))]}"
    first, dice = FIRST[int(chance.random() * len(FIRST))], chance.random()
    if dice < 0.15:
        return f"{last}, {first}"
    if dice < 0.25:
        return f"{first} & {FIRST[int(chance.random() * len(FIRST))]} {last}"
    return f"{first} {last}"


def address(chance: Random) -> dict[str, Any]:
    """A street address. One in a hundred has a null that ServiceTitan's documents rule out but real data has."""
    city, state, postal_code, latitude, longitude = PLACES[int(chance.random() * len(PLACES))]
    dice = chance.random()
    blank = dice < 0.01
    return {
        "street": None
        if blank
        else f"{1 + int(chance.random() * 9899)} {STREETS[int(chance.random() * len(STREETS))]}",
        "unit": f"Apt {1 + int(chance.random() * 40)}" if dice > 0.85 else None if dice > 0.3 else "",
        "city": None if dice < 0.007 else city,
        "state": None if dice < 0.007 else state,
        "zip": None
        if dice < 0.015
        else postal_code
        if dice < 0.9
        else f"{postal_code}-{1000 + int(chance.random() * 8999)}",
        "country": None if dice < 0.05 else "USA",
        "latitude": None if dice < 0.1 else round(latitude + chance.random() / 5, 6),
        "longitude": None if dice < 0.1 else round(longitude + chance.random() / 5, 6),
    }


def phone(chance: Random) -> str:
    """A phone number in one of the ways people type them."""
    area, line, dice = 200 + int(chance.random() * 799), int(chance.random() * 100), chance.random()
    if dice < 0.6:
        return f"{area}55501{line:02}"
    if dice < 0.85:
        return f"({area}) 555-01{line:02}"
    return f"+1 {area}-555-01{line:02}" if dice < 0.95 else f"{area}.555.01{line:02} x{1 + line}"


def email(chance: Random) -> str:
    """A mail address."""
    first, last = FIRST[int(chance.random() * len(FIRST))], LAST[int(chance.random() * len(LAST))]
    name = f"{first}.{last}{int(chance.random() * 1000)}"
    return (
        f"{name if chance.random() < 0.2 else name.lower()}@example.{('com', 'org', 'net')[int(chance.random() * 3)]}"
    )
