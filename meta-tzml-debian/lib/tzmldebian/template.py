# SPDX-License-Identifier: Apache-2.0
"""Text files in which @NAME@ stands for a BitBake variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def fill(d: Any, files: list[str], names: list[str]) -> None:
    """Copy files from S to B and insert the values of these variables."""
    for file in files:
        text = Path(d.getVar("S"), file).read_text()
        for name in names:
            text = text.replace(f"@{name}@", d.getVar(name))
        Path(d.getVar("B"), file).write_text(text)
