"""What to say of a name that nothing has: the names that look like it.

Here: the words. Not here: which names there are.
"""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`did you mean invoices or jobs?`, at most three names; empty when none is near."""
    names = sorted(set(known))
    begun = [one for one in names if name and one.startswith(name.lower())]
    near = begun[:3] or difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that is not one of `known`: those that look like it, or else all of them."""
    names = tuple(dict.fromkeys(known))
    hint = did_you_mean(name, names) or f"take one of {', '.join(names)}"
    return f"unknown {kind} {name!r}: {hint}"
