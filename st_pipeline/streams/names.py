"""First and last names, at the last word; titles, companies and commas are still to come."""


def split_name(name: str | None, *, commercial: bool) -> tuple[str | None, str | None]:
    """First and last name."""
    if not name or not name.strip():
        return None, None
    if commercial or " " not in name.strip():
        return None, name.strip()
    first, _, last = name.strip().rpartition(" ")
    return first, last
