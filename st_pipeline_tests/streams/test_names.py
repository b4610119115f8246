"""First and last names, as a careful person would split them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from st_pipeline.streams.names import ABBREVIATED, COMPANY_WORDS, CONNECTIVES, TITLES, split_name

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
    ("Владимир Петров", "Владимир", "Петров"),
    # in Chinese, Japanese and Korean writing the family comes first
    ("李 小龙", "小龙", "李"),
    ("山田 太郎", "太郎", "山田"),
    ("김 민수", "민수", "김"),
    # more given names and initials
    ("Mary Ann Smith", "Mary Ann", "Smith"),
    ("John Q. Public", "John Q.", "Public"),
    ("J. R. R. Tolkien", "J. R. R.", "Tolkien"),
    ("J.R. Ewing", "J.R.", "Ewing"),
    ("John S.", "John", "S."),
    ('Robert "Bob" Tanner', 'Robert "Bob"', "Tanner"),
    ("John (Jack) Smith", "John (Jack)", "Smith"),
    ("Hon Nguyen", "Hon", "Nguyen"),
    ("Gen Tanaka", "Gen", "Tanaka"),
    # last name first
    ("Smith, John", "John", "Smith"),
    ("Smith,John", "John", "Smith"),
    ("SMITH, JOHN", "JOHN", "SMITH"),
    ("Lee, David M.", "David M.", "Lee"),
    ("Smith, Mary Ann", "Mary Ann", "Smith"),
    ("Garcia Lopez, Maria", "Maria", "Garcia Lopez"),
    ("de Vries, Anna", "Anna", "de Vries"),
    ("van der Berg, Jan", "Jan", "van der Berg"),
    ("Berg, Jan van der", "Jan", "van der Berg"),
    ("Cruz, Juan de la", "Juan", "de la Cruz"),
    ("Nguyen, Van", "Van", "Nguyen"),
    ("Nguyen, van", "van", "Nguyen"),
    ("Garcia Lopez, Juan & Maria", "Juan & Maria", "Garcia Lopez"),
    ("Smith, Mr. John", "John", "Smith"),
    ("Mrs. Smith, Mary", "Mary", "Smith"),
    ("Smith, John Dr.", "John", "Smith"),
    ("Smith, Mr. & Mrs. John", "John", "Smith"),
    ("Smith, Mr. John & Mrs. Mary", "John & Mary", "Smith"),
    ("Smith, Mr. & Mrs.", None, "Smith"),
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
    ("Smith, John and Mary Ann", "John and Mary Ann", "Smith"),
    ("Smith, John & Mary B.", "John & Mary B.", "Smith"),
    ("Mary Ann & John Smith", "Mary Ann & John", "Smith"),
    ("John Smith & Mary Ann", "John & Mary Ann", "Smith"),
    ("John Q. & Mary B. Smith", "John Q. & Mary B.", "Smith"),
    ("John Jr. & Mary Smith", "John Jr. & Mary", "Smith"),
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
    ("Juan de la Cruz Garcia", "Juan", "de la Cruz Garcia"),
    ("José Ortega y Gasset", "José", "Ortega y Gasset"),
    ("Ortega y Gasset", None, "Ortega y Gasset"),
    ("Juan y Maria", None, "Juan y Maria"),
    ("Y van Berg", "Y", "van Berg"),
    ("Pat O' Brien", "Pat", "O' Brien"),
    ("La Toya Jackson", "La Toya", "Jackson"),
    ("Van Anh Nguyen", "Van Anh", "Nguyen"),
    ("St. John Smith", "St. John", "Smith"),
    ("De La Cruz", None, "De La Cruz"),
    ("Della Reese", "Della", "Reese"),
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
    ("John Smith V", "John", "Smith V"),
    ("Henry V", "Henry", "V"),
    ("H. V", "H.", "V"),
    ("Jr.,MD", None, "Jr., MD"),
    # titles go
    ("Mr. John Smith", "John", "Smith"),
    ("Dr Jane Roe", "Jane", "Roe"),
    ("Rev. Dr. Martin King", "Martin", "King"),
    ("Lt. Col. Jane Roe", "Jane", "Roe"),
    ("Mr. Smith", None, "Smith"),
    ("Mr. & Mrs. John Smith", "John", "Smith"),
    ("Mr. and Mrs. Smith", None, "Smith"),
    ("Mr. John & Mrs. Mary Smith", "John & Mary", "Smith"),
    ("Dr. & Mrs. Robert de la Cruz Jr.", "Robert", "de la Cruz Jr."),
    # notes
    ("John Smith (landlord)", "John", "Smith (landlord)"),
    ("Smith, John(Jack)", "John(Jack)", "Smith"),
    ("Smith, John (do not call)", "John", "Smith (do not call)"),
    ('John Smith "Bob"', "John", 'Smith "Bob"'),
    ("Smith (landlord)", None, "Smith (landlord)"),
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
    "B & B Roofing",
    "Mario's Kitchen",
    "Mario’s Kitchen",
    "Knights of Columbus",
    "Trustees of Springfield",
    # households and estates
    "The Smith Family",
    "Smith Family Trust",
    "Smith Residence",
    "Estate of John Smith",
    "The Smiths",
    "John Smith c/o Mary Jones",
    "Attn John Smith",
    "Current Resident",
    "John Smith & Family",
    "John Smith et al",
    # notes that are none of the name
    "John Smith - landlord",
    "John Smith **VIP**",
    "John Smith: gate at the back",
    "(landlord) John Smith",
    "Robert (Bob Jones",
    "John & <b>Mary</b>; Smith",
    # nothing to tell which is which
    "Smith & Wesson",
    "John & Mary",
    "John, Mary and Bob Smith",
    "John & Mary Ann",
    "Smith, & Mary",
    "John & Mary & Bob Smith",
    "John & Mary Smith, Bob",
    "Smith, John & Mary &",
    "Dr., John",
    "&, Jr.",
    "John & Jr.",
    "Jr. & John",
    "John Smith & Jr.",
    "MD & Mary Smith",
    "Jr.",
    "Jr. MD",
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


@pytest.mark.parametrize(("length", "first"), [(199, "John"), (200, "John"), (201, None)])
def test_a_name_of_200_characters_is_split_and_a_longer_one_stays_whole(length: int, first: str | None):
    name = "John " + "S" * (length - len("John "))
    assert split_name(name, commercial=False)[0] == first


PERSONS = [
    "John",
    "mary",
    "SMITH",
    "Ann",
    "Q.",
    "O'Brien",
    "van",
    "Der",
    "de",
    "y",
    "V",
    "Jr.",
    "MD",
    "Mr.",
    "Hon.",
    "李",
]
OTHERS = ["&", "and", "+", ",", "(x)", "(y", '"Bob"', "-", "of", "LLC", "St."]
WORDS = st.sampled_from(PERSONS + OTHERS)


@pytest.mark.parametrize("piece", ["a ", "() ", '"" ', "a,", "& ", "van ", "Mr. ", "- ", "(", "a'"])
def test_a_text_of_any_length_is_read_at_once(piece: str):
    """Values of a megabyte have been seen; one must neither raise nor hold up a chunk."""
    name = (piece * 500_000).strip()
    assert split_name(name, commercial=False) == (None, name)


@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
def test_no_word_of_a_name_is_lost_but_titles(name: str):
    first, last = split_name(name, commercial=False)
    words = name.replace(",", " ").split()
    left = f"{first or ''} {last or ''}".replace(",", " ").split()
    lost = [word for word in words if word not in left]
    titles = [word for word in words if word.lower() in ABBREVIATED or word.lower().replace(".", "") in TITLES]
    assert all(word in titles or (titles and word.lower() in CONNECTIVES) for word in lost)
    assert set(left) <= set(words)
    assert (last is None) == (not name.split())
    assert first != ""
    assert split_name(f"  {name}\n", commercial=False) == (first, last)


def test_the_lists_hold_single_words_in_lower_case():
    assert all(word == word.lower().strip() for word in COMPANY_WORDS)
