"""What an image installs on its device about the machine: `python -m tzml.boards MACHINE PROTECTED HUK`.

Image builds call it with MACHINE, SECURE_MEMORY_PROTECTED (1 or 0) and OPTEE_HUK (what OP-TEE's hardware unique key
is); tzml.protection reads it on the device.
"""

from __future__ import annotations

import json
import sys

from tzml.boards import HUK_WARNINGS, boards, huk_warning, memory_warning
from tzml.errors import TzmlError


def facts(machine: str, protected: bool, huk: str) -> dict[str, object]:
    """The content of the file. Raises TzmlError when the machine's descriptor says otherwise."""
    board = boards().get(machine)
    if board and board.secure_memory.protected != protected:
        raise TzmlError(
            f"the build has SECURE_MEMORY_PROTECTED = {protected:d} for {machine}, and its board descriptor has "
            f"secure_memory.protected = {str(board.secure_memory.protected).lower()}",
            "correct the one that is wrong: conf/machine or py/tzml/boards",
        )
    warning = memory_warning(machine, protected)
    return {
        "machine": machine,
        "secure_memory": {"protected": protected, "warning": warning},
        "huk": {"kind": huk, "warning": huk_warning(huk)},
    }


def main() -> None:
    """Print the file."""
    if len(sys.argv) != 4 or sys.argv[2] not in ("0", "1") or sys.argv[3] not in HUK_WARNINGS:
        sys.exit(f"usage: python -m tzml.boards MACHINE 0|1 {'|'.join(HUK_WARNINGS)}")
    try:
        found = facts(sys.argv[1], sys.argv[2] == "1", sys.argv[3])
    except TzmlError as error:
        sys.exit(f"tzml.boards: {error}")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
