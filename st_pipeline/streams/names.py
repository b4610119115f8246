"""A customer's name as first and last name, split as a careful person would.

Here: the rules, by words. Not here: which customers are commercial (customers.py). When in doubt a name stays whole: it
is then the last name. Nothing of a name is lost but titles such as "Mr.".
"""

import re

# ruff: noqa: SIM905 - a list of words reads as words, not one quoted string a line
TITLES = frozenset("mr mrs ms miss mx dr prof rev sir".split())
ABBREVIATED = frozenset("capt. col. fr. gen. hon. lt. maj. sgt.".split())  # titles too; without the dot they are names
SUFFIXES = frozenset("jr sr ii iii iv md phd esq dds dmd dvm cpa rn ret".split())
# Words that begin a last name: Jan van der Berg, Juan de la Cruz, Mary St. John.
PARTICLES = frozenset(
    "van von vander der den de del della di da dos das du la le las los el al bin ibn ter ten st saint mc o'".split()
)
# Given names too: Van Morrison, Al Pacino, Le Nguyen.
ALSO_GIVEN = frozenset("van al le la del della bin".split())
# Second halves of given names: in "Mary Ann & John Smith" nobody is called Ann.
SECOND_GIVEN = frozenset("ann anne beth bob ellen jane jean jo joe lou louise lynn mae marie rae sue".split())
CONNECTIVES = frozenset("& and +".split())
# A name with one of these is a company, an estate, a household: nobody's first and last name.
COMPANY_WORDS = frozenset(
    """
    academy account agency apartment apartments apts assoc association associates auto automotive bakery bank brewery
    brewing bros brothers builders cafe center centre church city clinic club co college company condo condominium
    condominiums condos construction consulting contractors corp corporation council county customer daycare dba deli
    dental dentistry department dept diner district electric enterprises estate estates et family farms financial
    fitness foundation gmbh government grill group gym heating hoa holdings homeowner homeowners homes hospital hotel
    household hvac inc incorporated industries inn insurance international investments landscaping library limited llc
    llp logistics lp ltd management manor market marketing medical mgmt ministries ministry mortgage motel motors museum
    occupant office offices parish partners pc pharmacy pizza plaza plc pllc plumbing properties property realtors
    realty rental rentals residence resident residents resort restaurant roofing salon school schools service services
    shop solutions sons spa store studio studios suites supply systems team technologies temple tenant tenants tower
    towers town township trucking trust trustee trustees university unknown usa ventures village villas warehouse
    wholesale winery
    """.split()
)
LONGEST_NAME = 200  # characters; what is longer is a text
SPECIAL = TITLES | SUFFIXES | PARTICLES | CONNECTIVES | COMPANY_WORDS | {"the", "attn"}
# Digits, signs that no name has, a dash on its own, "of", a genitive as in Joe's Kitchen, brackets that do not close.
STAYS_WHOLE = re.compile(
    r"[0-9/@#*:;<>\[\]{}|\\=_~]|(?<!\S)[-–—]+(?!\S)|\b(?:c/o|attn|of)\b|^the\b|['’]s\s|^\(|\([^)]*$", re.IGNORECASE
)
NOTE = re.compile(r' (?:\([^()]*\)|"[^"]*"|“[^”]*”)$')
PLAIN = re.compile(r"([^\W\d_]+(?:['’-][^\W\d_]+)*)(?<!['’]s) ([^\W\d_]+(?:['’-][^\W\d_]+)*)")
FAMILY_FIRST = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")  # Chinese, Japanese, Korean

Name = tuple[str | None, str | None]


def split_name(name: str | None, *, commercial: bool) -> Name:
    """First and last name; (None, the name) where it stays whole, (None, None) where there is none."""
    whole = " ".join(name.split()) if name else ""
    if not whole or commercial or len(whole) > LONGEST_NAME:
        return None, whole or None
    plain = PLAIN.fullmatch(whole)  # nine of ten
    if plain and plain[1].lower() not in SPECIAL and plain[2].lower() not in SPECIAL:
        return (plain[2], plain[1]) if FAMILY_FIRST.match(whole) else (plain[1], plain[2])
    if STAYS_WHOLE.search(whole) or any(_bare(word) in COMPANY_WORDS for word in whole.split()):
        return None, whole
    note = NOTE.search(whole)
    if note:  # John Smith (landlord)
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
        name = _persons(*parts)
        return name and (name[0], f"{name[1]}, {' '.join(suffixes)}")
    if len(parts) != 2 or CONNECTIVES.intersection(map(_bare, parts[0])):  # noqa: PLR2004 - last and first
        return None
    last, rest = _without_titles(parts[0]), parts[1]
    first = _first_names([word for word in rest if _bare(word) not in SUFFIXES])
    last_names = [word for word in last if _bare(word) not in PARTICLES]
    if not last or first is None:
        return None
    if len(first) > 1 < len(last_names) and not CONNECTIVES.intersection(map(_bare, first)):
        return None  # John Smith, Mary Jones
    while len(first) > 1 and first[-1] in PARTICLES:  # Berg, Jan van der
        last.insert(0, first.pop())
    ending = [word for word in rest if _bare(word) in SUFFIXES] + suffixes
    return " ".join(first) or None, " ".join(last + ending)


def _first_names(words: list[str]) -> list[str] | None:
    """What follows the comma, without titles, as in "Mr. & Mrs. John". None for more than first names."""
    kept: list[str] = []
    for index, word in enumerate(words):
        is_joint = _bare(word) in CONNECTIVES
        begins = not kept or _bare(kept[-1]) in CONNECTIVES
        if not (begins and (_is_title(word) or (is_joint and index > 0))):
            kept.append(word)
    while kept and _is_title(kept[-1]):  # John Dr.
        kept.pop()
    joints = [index for index, word in enumerate(kept) if _bare(word) in CONNECTIVES]
    if not joints:
        return kept
    joint, *more = joints
    return kept if joint > 0 and not more and _is_given(kept[joint + 1 :]) else None  # John, Mary and Bob Smith


def _persons(words: list[str]) -> Name | None:
    """One person, or two joined by "&" or "and". None where the words are no names of persons."""
    joints = [index for index, word in enumerate(words) if _bare(word) in CONNECTIVES]
    if not joints:
        named = _without_titles(words)
        return _person(named) if named else None
    joint, *more = joints
    left, right = _without_titles(words[:joint]), _without_titles(words[joint + 1 :])
    if more or not right or joint == 0:
        return None
    return _couple(left, words[joint], right) if left else _person(right)  # Mr. & Mrs. John Smith


def _couple(left: list[str], joint: str, right: list[str]) -> Name | None:
    one, other = _person(left), _person(right)
    if _is_given(left) and _is_given(right):  # Smith & Wesson, John & Mary Ann
        return None
    if _is_given(left) and other[0]:  # John & Mary Smith
        return f"{' '.join(left)} {joint} {other[0]}", other[1]
    if _is_given(right) and one[0]:  # John Smith & Mary
        return f"{one[0]} {joint} {' '.join(right)}", one[1]
    if one[0] and other[0]:  # John Smith & Mary Jones
        return f"{one[0]} {joint} {other[0]}", one[1] if one[1] == other[1] else f"{one[1]} {joint} {other[1]}"
    return None


def _is_given(words: list[str]) -> bool:
    """One first name; two, of which the second is an initial or one of those that follow a first."""
    names = [word for word in words if _bare(word) not in SUFFIXES]
    return len(names) == 1 or (len(names) == 2 and (len(_bare(names[1])) == 1 or _bare(names[1]) in SECOND_GIVEN))  # noqa: PLR2004


def _person(words: list[str]) -> Name:
    """Given names, then the last name with what begins it and what ends it."""
    end = len(words)
    while end > 1 and (_bare(words[end - 1]) in SUFFIXES or (words[end - 1] == "V" and end > 2)):  # noqa: PLR2004
        end -= 1
    if end == 1:
        return None, " ".join(words)
    first_is_given = words[0][0].isupper() and (
        _bare(words[0]) in ALSO_GIVEN if end == 2 else _bare(words[1]) not in PARTICLES  # noqa: PLR2004
    )
    begin = next((index for index in range(first_is_given, end) if _bare(words[index]) in PARTICLES), end - 1)
    if begin > 1 and words[begin - 1].lower() == "y":  # José Ortega y Gasset; all of "Ortega y Gasset" is a last name
        begin -= 2
    return " ".join(words[:begin]) or None, " ".join(words[begin:])


def _without_titles(words: list[str]) -> list[str]:
    begin = next((index for index, word in enumerate(words) if not _is_title(word)), len(words))
    return words[begin:]


def _is_title(word: str) -> bool:
    return _bare(word) in TITLES or word.lower() in ABBREVIATED


def _bare(word: str) -> str:
    """The word to look up: lower case, without dots (`Ph.D.` is phd)."""
    return word.lower().replace(".", "").strip(",;:")
