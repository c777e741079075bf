"""One thing that was checked."""

from __future__ import annotations

import shutil
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """Something that a run needs.

    Args:
        what: what was looked at
        ok: whether it is as it must be
        found: what is there
        remedy: the command that mends it, or what a person has to do
        needed: False when a run may do without, or when it may come true by itself

    """

    what: str
    ok: bool
    found: str = ""
    remedy: str = ""
    needed: bool = True


def program(name: str, package: str) -> Check:
    """Check that a program is installed. `package` is the Debian package that has it."""
    path = shutil.which(name)
    return Check(name, bool(path), path or "not installed", f"sudo apt-get install {package}")
