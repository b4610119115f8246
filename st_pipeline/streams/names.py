"""A customer's name as first and last name, split as a careful person would.

Here: the rules, by words. Not here: which customers are commercial (customers.py). When in doubt a name stays whole: it
then stands as the last name. Nothing of a name is lost but titles such as "Mr.".
"""

import re

# ruff: noqa: SIM905 - a list of words reads as words, not one quoted string a line
TITLES = frozenset("mr mrs ms miss mx dr prof rev fr hon sir".split())
SUFFIXES = frozenset("jr sr ii iii iv md phd esq dds dmd dvm cpa rn ret".split())
# Words that begin a last name: Jan van der Berg, Juan de la Cruz, Mary St. John.
PARTICLES = frozenset("van von der den de del della di da dos das du la le las los el al bin ibn ter ten st".split())
# Given names too: Van Morrison, Al Pacino, Le Nguyen.
ALSO_GIVEN = frozenset("van al le la del".split())
CONNECTIVES = frozenset("& and +".split())
# A name with one of these is a company, an estate, a household: nobody's first and last name.
COMPANY_WORDS = frozenset(
    """
    academy agency apartment apartments apts assoc association associates auto automotive bank bros brothers builders
    cafe center centre church city clinic club co college company condo condominium condominiums condos construction
    contractors corp corporation council county daycare dba dental department dept diner district electric enterprises
    estate estates family fitness foundation gmbh government grill group gym heating hoa holdings homes hospital hotel
    household hvac inc incorporated industries inn insurance international investments library limited llc llp
    logistics lp ltd management manor market medical mgmt ministries ministry mortgage motel motors museum office
    offices parish partners pc pharmacy pizza plaza plc pllc plumbing properties property realtors realty rental
    rentals residence resort restaurant salon school schools service services shop solutions sons spa store studio
    studios suites supply systems team technologies temple tower towers town township trust university usa ventures
    village villas warehouse wholesale
    """.split()
)
SPECIAL = TITLES | SUFFIXES | PARTICLES | CONNECTIVES | COMPANY_WORDS | {"the", "attn"}
STAYS_WHOLE = re.compile(r"[0-9/@#]|\bc/o\b|\battn\b|\b(?:state|house) of\b|^the\b", re.IGNORECASE)
NOTE = re.compile(r" *\([^()]*\)$")
PLAIN = re.compile(r"([^\W\d_]+(?:['’-][^\W\d_]+)*) ([^\W\d_]+(?:['’-][^\W\d_]+)*)")

Name = tuple[str | None, str | None]


def split_name(name: str | None, *, commercial: bool) -> Name:
    """First and last name; (None, the name) where it stays whole, (None, None) where there is none."""
    whole = " ".join(name.split()) if name else ""
    if not whole or commercial:
        return None, whole or None
    plain = PLAIN.fullmatch(whole)  # nine of ten
    if plain and plain[1].lower() not in SPECIAL and plain[2].lower() not in SPECIAL:
        return plain[1], plain[2]
    if STAYS_WHOLE.search(whole) or any(_bare(word) in COMPANY_WORDS for word in whole.split()):
        return None, whole
    note = NOTE.search(whole)
    if note and note.start():  # John Smith (landlord)
        first, last = split_name(whole[: note.start()], commercial=False)
        return first, f"{last}{note[0]}"
    return (_at_comma(whole) if "," in whole else _persons(whole.split())) or (None, whole)


def _at_comma(whole: str) -> Name | None:
    """`Smith, John` and `Smith, John, Jr.`; `John Smith, MD`. None where the comma says something else."""
    parts = [part.split() for part in whole.split(",")]
    if not all(parts):
        return None
    suffixes: list[str] = []
    while len(parts) > 1 and all(_bare(word) in SUFFIXES for word in parts[-1]):
        suffixes = parts.pop() + suffixes
    if len(parts) == 1:
        name = _persons(parts[0])
        return name and (name[0], f"{name[1]}, {' '.join(suffixes)}")
    if len(parts) != 2 or CONNECTIVES.intersection(map(_bare, parts[0])):  # noqa: PLR2004 - last and first
        return None
    last, rest = parts
    first = _without_titles([word for word in rest if _bare(word) not in SUFFIXES])
    joints = [index for index, word in enumerate(first) if _bare(word) in CONNECTIVES]
    last_names = [word for word in last if _bare(word) not in PARTICLES]
    is_list = len(first) > 1 < len(last_names) if not joints else joints != [len(first) - 2]
    if not first or is_list:  # John Smith, Mary Jones; John, Mary and Bob Smith
        return None
    ending = [word for word in rest if _bare(word) in SUFFIXES] + suffixes
    return " ".join(first), " ".join(last + ending)


def _persons(words: list[str]) -> Name | None:
    """One person, or two joined by "&" or "and". None where the words are no names of persons."""
    joints = [index for index, word in enumerate(words) if _bare(word) in CONNECTIVES]
    if not joints:
        named = _without_titles(words)
        return _person(named) if named else None
    left, right = _without_titles(words[: joints[0]]), _without_titles(words[joints[0] + 1 :])
    if len(joints) > 1 or not right or not words[: joints[0]]:
        return None
    return _couple(left, words[joints[0]], right) if left else _person(right)  # Mr. & Mrs. John Smith


def _couple(left: list[str], joint: str, right: list[str]) -> Name | None:
    one, other = _person(left), _person(right)
    if len(left) == 1 and other[0]:  # John & Mary Smith
        return f"{left[0]} {joint} {other[0]}", other[1]
    if len(right) == 1 and one[0]:  # John Smith & Mary
        return f"{one[0]} {joint} {right[0]}", one[1]
    if one[0] and other[0]:  # John Smith & Mary Jones
        return f"{one[0]} {joint} {other[0]}", one[1] if one[1] == other[1] else f"{one[1]} {joint} {other[1]}"
    return None  # Smith & Wesson, John & Mary


def _person(words: list[str]) -> Name:
    """Given names, then the last name with what begins it and what ends it."""
    end = len(words)
    while end > 1 and _bare(words[end - 1]) in SUFFIXES:
        end -= 1
    begin = next((index for index in range(end - 1) if _bare(words[index]) in PARTICLES), end - 1)
    if begin == 0 and end == 2 and words[0][0].isupper() and _bare(words[0]) in ALSO_GIVEN:  # noqa: PLR2004
        begin = 1
    return " ".join(words[:begin]) or None, " ".join(words[begin:])


def _without_titles(words: list[str]) -> list[str]:
    begin = next((index for index, word in enumerate(words) if _bare(word) not in TITLES), len(words))
    return words[begin:]


def _bare(word: str) -> str:
    """The word to look up: lower case, without dots (`Ph.D.` is phd)."""
    return word.lower().replace(".", "").strip(",;:")
