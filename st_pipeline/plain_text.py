"""Text from outside without what would steer the terminal or log it ends in.

Here: what is removed. Not here: where it enters (errors.py, validation/drift.py) and where it is printed
(cli/terminal.py, logs.py).
"""

# Control characters, of which ESC and its one-character forms from 0x80 on clear screens and set titles; line feeds and
# tabs stay. And those that turn the order of letters around, by which a line reads other than it is.
TERMINAL_CONTROLS = tuple(
    chr(code)
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
)
_REMOVED = dict.fromkeys(map(ord, TERMINAL_CONTROLS))


def plain(text: str) -> str:
    """The text without them."""
    return text if text.isascii() and text.isprintable() else text.translate(_REMOVED)
