"""Budgets for slow machines: LG_TIME_SCALE=3 makes every time limit of the lab three times as long."""

from __future__ import annotations

import os

VARIABLE = "LG_TIME_SCALE"


def scaled(seconds: float) -> float:
    """A time limit on this machine. Raises ValueError when the variable is no positive number."""
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0 < factor < float("inf"):
        raise ValueError(f"{VARIABLE} is {text!r}; it must be a positive number, such as 3")
    return seconds * factor
