"""What this device says of the memory its TEE works in and of its key. Nothing said: nothing is secret on it."""

from __future__ import annotations

import json
from pathlib import Path

# The image's build installs it (tzml.boards.__main__; package tzml-board).
BOARD = Path("/usr/share/tzml/board.json")


def memory_warning(board: Path = BOARD) -> str:
    """What people must know about secrets on this device; "" where hardware protects OP-TEE's memory.

    Args:
        board: the file with the facts about this device

    """
    try:
        memory = json.loads(board.read_bytes())["secure_memory"]
        protected, warning = memory["protected"], memory["warning"]
    except FileNotFoundError:
        why = "is not there"
    except (OSError, ValueError, KeyError, TypeError):
        why = "cannot be read"
    else:
        if protected is True:
            return ""
        if warning and isinstance(warning, str):
            return warning
        why = "does not say so"
    return (
        f"Nothing shows that hardware protects OP-TEE's memory on this device: {board} {why}. Do not keep secrets "
        "on it; install an image with the package tzml-board."
    )


def huk_warning(board: Path = BOARD) -> str:
    """What people must know about sealed models on this device; "" where its hardware unique key is its own secret.

    Args:
        board: the file with the facts about this device

    """
    try:
        huk = json.loads(board.read_bytes())["huk"]
        kind, warning = huk["kind"], huk["warning"]
    except FileNotFoundError:
        why = "is not there"
    except (OSError, ValueError, KeyError, TypeError):
        why = "cannot be read"
    else:
        if kind == "hardware":
            return ""
        if warning and isinstance(warning, str):
            return warning
        why = "does not say so"
    return f"Nothing shows that this device has a secret key of its own: {board} {why}. Sealed models may be read."
