"""First and last names, as a careful person would split them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_pipeline.streams.names import COMPANY_WORDS, TITLES, split_name

SPLIT = [
    # two words
    ("John Smith", "John", "Smith"),
    ("JOHN SMITH", "JOHN", "SMITH"),
    ("john smith", "john", "smith"),
    ("  John   Smith ", "John", "Smith"),
    ("Sean O'Brien", "Sean", "O'Brien"),
    ("Sean O’Brien", "Sean", "O’Brien"),
    ("Mary-Jane Watson-Parker", "Mary-Jane", "Watson-Parker"),
    ("José Núñez", "José", "Núñez"),
    ("Łukasz Żółty", "Łukasz", "Żółty"),
    ("李 小龙", "李", "小龙"),
    # more given names and initials
    ("Mary Ann Smith", "Mary Ann", "Smith"),
    ("John Q. Public", "John Q.", "Public"),
    ("J. R. R. Tolkien", "J. R. R.", "Tolkien"),
    ("J.R. Ewing", "J.R.", "Ewing"),
    # last name first
    ("Smith, John", "John", "Smith"),
    ("Smith,John", "John", "Smith"),
    ("SMITH, JOHN", "JOHN", "SMITH"),
    ("Lee, David M.", "David M.", "Lee"),
    ("Smith, Mary Ann", "Mary Ann", "Smith"),
    ("Garcia Lopez, Maria", "Maria", "Garcia Lopez"),
    ("de Vries, Anna", "Anna", "de Vries"),
    ("van der Berg, Jan", "Jan", "van der Berg"),
    ("Smith, Mr. John", "John", "Smith"),
    # couples
    ("John & Mary Smith", "John & Mary", "Smith"),
    ("John and Mary Smith", "John and Mary", "Smith"),
    ("John AND Mary Smith", "John AND Mary", "Smith"),
    ("John + Mary Smith", "John + Mary", "Smith"),
    ("John & Mary Ann Smith", "John & Mary Ann", "Smith"),
    ("John & Mary van der Berg", "John & Mary", "van der Berg"),
    ("John Smith & Mary", "John & Mary", "Smith"),
    ("John Smith & Mary Smith", "John & Mary", "Smith"),
    ("John Smith & Mary Jones", "John & Mary", "Smith & Jones"),
    ("John Smith and Mary Jones", "John and Mary", "Smith and Jones"),
    ("Smith, John & Mary", "John & Mary", "Smith"),
    ("Smith, Mary Ann and John", "Mary Ann and John", "Smith"),
    ("van der Berg, Jan & Els", "Jan & Els", "van der Berg"),
    # last names of several words
    ("Jan van der Berg", "Jan", "van der Berg"),
    ("Pieter Van Der Berg", "Pieter", "Van Der Berg"),
    ("Juan de la Cruz", "Juan", "de la Cruz"),
    ("Ludwig von Beethoven", "Ludwig", "von Beethoven"),
    ("Vasco da Gama", "Vasco", "da Gama"),
    ("Mohammed bin Salman", "Mohammed", "bin Salman"),
    ("Mary St. John", "Mary", "St. John"),
    ("Mary Ann de Souza", "Mary Ann", "de Souza"),
    ("Van Morrison", "Van", "Morrison"),
    ("Al Pacino", "Al", "Pacino"),
    ("Le Nguyen", "Le", "Nguyen"),
    ("van der Berg", None, "van der Berg"),
    ("Van Der Berg", None, "Van Der Berg"),
    ("van Dyke", None, "van Dyke"),
    ("De Vries", None, "De Vries"),
    # what ends a name
    ("John Smith Jr.", "John", "Smith Jr."),
    ("Robert Downey III", "Robert", "Downey III"),
    ("John Smith Jr. MD", "John", "Smith Jr. MD"),
    ("John Smith, MD", "John", "Smith, MD"),
    ("John Smith, Ph.D.", "John", "Smith, Ph.D."),
    ("John Smith, Jr., MD", "John", "Smith, Jr. MD"),
    ("Smith, John Jr.", "John", "Smith Jr."),
    ("Smith, John, Jr", "John", "Smith Jr"),
    ("Smith Jr.", None, "Smith Jr."),
    # titles go
    ("Mr. John Smith", "John", "Smith"),
    ("Dr Jane Roe", "Jane", "Roe"),
    ("Rev. Dr. Martin King", "Martin", "King"),
    ("Mr. Smith", None, "Smith"),
    ("Mr. & Mrs. John Smith", "John", "Smith"),
    ("Mr. and Mrs. Smith", None, "Smith"),
    ("Mr. John & Mrs. Mary Smith", "John & Mary", "Smith"),
    ("Dr. & Mrs. Robert de la Cruz Jr.", "Robert", "de la Cruz Jr."),
    # notes
    ("John Smith (landlord)", "John", "Smith (landlord)"),
    ("Smith, John (do not call)", "John", "Smith (do not call)"),
]
WHOLE = [
    "Cher",
    "O'Brien",
    # companies
    "Acme LLC",
    "Acme, Inc.",
    "ACME INC",
    "Smith, LLC",
    "Smith & Sons",
    "Smith and Co.",
    "Smith Brothers",
    "Smith Properties",
    "Maple Grove HOA",
    "First Baptist Church",
    "Lincoln Elementary School",
    "Oak Hill Apartments",
    "Joe's Restaurant",
    "First National Bank",
    "City of Duluth",
    "State of Minnesota",
    "Oak Street Property Management",
    "7-Eleven",
    "Unit 5 Tenant",
    "Smith/Jones",
    "john@example.com",
    # households and estates
    "The Smith Family",
    "Smith Family Trust",
    "Smith Residence",
    "Estate of John Smith",
    "The Smiths",
    "John Smith c/o Mary Jones",
    "Attn John Smith",
    # nothing to tell which is which
    "Smith & Wesson",
    "John & Mary",
    "John, Mary and Bob Smith",
    "Smith, John and Mary Ann",
    "John & Mary & Bob Smith",
    "John Smith, Mary Jones",
    "Smith, Jones, Brown",
    "Charlotte Church",
    # no names at all
    "Mr.",
    "Mr. & Mrs.",
    "&",
    ",",
    "John &",
    "& Mary Smith",
    "Smith,",
    ", John",
    "(landlord)",
]


@pytest.mark.parametrize(("name", "first", "last"), SPLIT)
def test_a_persons_name_is_split(name: str, first: str | None, last: str):
    assert split_name(name, commercial=False) == (first, last)


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_no_persons_name_stays_whole(name: str):
    assert split_name(name, commercial=False) == (None, name)


@pytest.mark.parametrize("name", ["John Smith", "Smith, John", "John & Mary Smith", "Mr. John Smith"])
def test_a_commercial_customers_name_stays_whole(name: str):
    assert split_name(name, commercial=True) == (None, name)


@pytest.mark.parametrize("name", [None, "", "  ", "\t\n"])
def test_no_name_has_no_parts(name: str | None):
    assert split_name(name, commercial=False) == split_name(name, commercial=True) == (None, None)


WORDS = st.sampled_from(
    ["John", "mary", "SMITH", "O'Brien", "van", "Der", "Jr.", "Mr.", "Mrs", "&", "and", ",", "(x)", "LLC", "St.", "李"]
)


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
def test_no_word_of_a_name_is_lost_but_titles(name: str):
    first, last = split_name(name, commercial=False)
    words = name.replace(",", " ").split()
    left = f"{first or ''} {last or ''}".replace(",", " ").split()
    lost = [word for word in words if word not in left]
    assert all(word.lower().rstrip(".;:") in TITLES | {"&", "and"} for word in lost)
    assert set(left) <= set(words)
    assert (last is None) == (not name.split())
    assert first != ""
    assert split_name(f"  {name}\n", commercial=False) == (first, last)


def test_the_lists_hold_single_words_in_lower_case():
    assert all(word == word.lower().strip() for word in COMPANY_WORDS)
