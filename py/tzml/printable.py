"""Text of others, as a terminal may show it."""

from __future__ import annotations

import re

# Controls of terminals (C0 but for newline and tab, delete, C1), and what turns the direction of a line's text
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with each character escaped that a terminal would obey: a bundle's text must not command it."""
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)
