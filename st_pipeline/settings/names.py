"""Lists of names in a setting.

Here: how they are read. Not here: which names are allowed; each setting says that.
"""


def split_names(value: object) -> object:
    """`a, b` as a set; anything else as it is."""
    return frozenset(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
