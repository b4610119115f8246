"""Text from outside, without the characters that control a terminal.

Here: what is removed. Not here: where such text enters (errors, validation/) and where it is printed (cli/, logs).
"""

# Control characters (with ESC, or its one-character forms from 0x80 on, a text can clear the screen or set the title;
# line feeds and tabs stay), and those that reverse the order of letters, which makes a line read as something else.
TERMINAL_CONTROLS = tuple(
    chr(code)
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
)
_REMOVED = dict.fromkeys(map(ord, TERMINAL_CONTROLS))


def plain(text: str) -> str:
    """The text without the characters that control a terminal."""
    return text if text.isascii() and text.isprintable() else text.translate(_REMOVED)
