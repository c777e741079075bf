"""Errors that a user can fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TzmlError(Exception):
    """An error that a user can fix.

    `what` says what happened, with what was found and what was expected. `remedy` says how to fix it.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.remedy = remedy

    def __str__(self) -> str:
        what = super().__str__()
        return f"{what}; {self.remedy}" if self.remedy else what


def known_names(wrong: str, known: Iterable[str], it: str = "it") -> str:
    """The remedy for a name that is not known: the most similar one, and all that there are."""
    names = list(known)
    folded = [name.casefold() for name in names]
    near = difflib.get_close_matches(wrong.casefold(), folded, 1)
    similar = f"did you mean {names[folded.index(near[0])]}? " if near else ""
    return f"{similar}{it} has {', '.join(names) or 'none'}"
