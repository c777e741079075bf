"""A file for each failure: what pytest says about it, and what the consoles said last."""

from __future__ import annotations

import re
from pathlib import Path

_FOLDER = "failures"
_LONGEST_NAME = 120


def write_failure(run: Path, test: str, text: str) -> str:
    """Write, or continue, the log of a test's failure.

    Args:
        run: the run's folder
        test: the test's node ID
        text: what is known of the failure

    Returns the file's path relative to `run`, as junit.xml has it in the property `log`.

    """
    name = re.sub(r"[^\w.-]+", "-", test.rpartition("/")[2]).strip("-")[:_LONGEST_NAME]
    path = run / _FOLDER / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8", errors="replace") as file:
        print(text.rstrip(), file=file)
    return str(path.relative_to(run))
