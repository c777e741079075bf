"""How the compiler tells where it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told the step at hand, and how many of its parts, if they are known, are done."""

    def __call__(self, step: str, done: int = 0, total: int = 0) -> None: ...


def no_progress(step: str, done: int = 0, total: int = 0) -> None:
    """Tell nobody."""
