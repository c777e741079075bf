"""What this device says of the memory its TEE works in and of its key. Nothing said: nothing is secret on it."""

from __future__ import annotations

import json
from pathlib import Path

# The image's build installs it (tzml.boards.__main__; package tzml-board).
BOARD = Path("/usr/share/tzml/board.json")

CLEAR_WARNING = "This is a development image: its secure world also runs models that nobody sealed."
"""Said with each answer of a TA that is not a release's."""


def memory_warning(board: Path = BOARD) -> str:
    """What people must know about secrets on this device; "" where hardware protects OP-TEE's memory.

    Args:
        board: the file with the facts about this device

    """
    warning, why = _said(board, "secure_memory", "protected", True)
    if not why:
        return warning
    return (
        f"Nothing shows that hardware protects OP-TEE's memory on this device: {board} {why}. Do not keep secrets "
        "on it; install an image with the package tzml-board."
    )


def huk_warning(board: Path = BOARD) -> str:
    """What people must know about sealed models on this device; "" where its hardware unique key is its own secret.

    Args:
        board: the file with the facts about this device

    """
    warning, why = _said(board, "huk", "kind", "hardware")
    if not why:
        return warning
    return f"Nothing shows that this device has a secret key of its own: {board} {why}. Sealed models may be read."


def _said(board: Path, about: str, name: str, good: object) -> tuple[str, str]:
    """The warning that the file has, "" where the fact `name` is as good as can be; why it says nothing, or ""."""
    try:
        facts = json.loads(board.read_bytes())[about]
        fact, warning = facts[name], facts["warning"]
    except FileNotFoundError:
        return "", "is not there"
    except (OSError, ValueError, KeyError, TypeError):
        return "", "cannot be read"
    if type(fact) is type(good) and fact == good:  # 1 is not True
        return "", ""
    if warning and isinstance(warning, str):
        return warning, ""
    return "", "does not say so"
