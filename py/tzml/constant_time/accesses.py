"""What a load or a store moves: which registers, how many bytes, from which address."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tzml.cortex_a53.instruction import Instruction, registers

_WIDTHS = {"b": 1, "h": 2, "s": 4, "w": 4, "d": 8, "x": 8, "q": 16}
_VECTORS = re.compile(r"v(\d+)\.(\d*)([bhsd])")


@dataclass(frozen=True)
class MemoryAccess:
    """Of a load or store.

    Attributes:
        moved: The registers, in the order of memory; None for the zero register.
        width: Bytes that each takes in memory.
        base: The register that holds the address.
        offset: Bytes from there to where the access begins.
        index: Registers that are added to the address.
        update: By how many bytes the base is moved on; None if by a register, or not.
        is_mixed: Whether memory has the first elements of all registers first, then the second ones.

    """

    moved: tuple[str | None, ...]
    width: int
    base: str
    offset: int
    index: tuple[str, ...]
    update: int | None
    is_mixed: bool


@cache
def access_of(instruction: Instruction) -> MemoryAccess:
    """Of an instruction that `parse` knows as a load or a store."""
    operands = instruction.operands
    at = next(i for i, operand in enumerate(operands) if operand.startswith("["))
    base, *more = [part.strip() for part in operands[at].rstrip("!").strip("[]").split(",")]
    offset = number(more[0]) if more else None
    behind = number(operands[at + 1]) if len(operands) > at + 1 else None
    index = tuple(name for part in more for name in registers(part))
    vectors = _VECTORS.findall(operands[0]) if operands[0].startswith("{") else []
    if vectors:
        _, count, letter = vectors[0]
        width = _WIDTHS[letter] * (int(count) if count and not instruction.mnemonic.endswith("r") else 1)
        moved: tuple[str | None, ...] = tuple(f"v{name}" for name, _, _ in vectors)
    else:
        width = _width(instruction.mnemonic) or _WIDTHS[operands[0][0]]
        moved = tuple(next(iter(registers(operand)), None) for operand in operands[:at])
    return MemoryAccess(
        moved,
        width,
        registers(base)[0],
        offset or 0,
        index,
        offset if operands[at].endswith("!") else behind,
        is_mixed=len(vectors) > 1,
    )


def number(operand: str) -> int | None:
    """An immediate operand's; None for another one."""
    match = re.fullmatch(r"#(-?(?:0x[0-9a-f]+|\d+))", operand)
    return int(match[1], 0) if match else None


def _width(mnemonic: str) -> int | None:
    """Bytes of an access that moves a part of a register; None if it moves a whole one."""
    if mnemonic == "ldpsw":
        return 4
    match = re.fullmatch(r"(?:ld|st)u?rs?([bhw])", mnemonic)
    return _WIDTHS[match[1]] if match else None
