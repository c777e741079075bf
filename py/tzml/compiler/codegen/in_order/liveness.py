"""Which registers, and which slots of the stack, are read later: of a function in assembly.

Backward dataflow over instructions (Aho, Lam, Sethi, Ullman, "Compilers", 9.2.5). A set is one number: a bit for
each register, and one for each 8 bytes of the stack from the stack pointer on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from tzml.compiler.codegen.in_order.assembly import AssemblyLine
from tzml.cortex_a53.instruction import FLAGS, STACK, Instruction, Work

_NAMES = [*(f"x{i}" for i in range(31)), STACK, *(f"v{i}" for i in range(32)), FLAGS]
_BIT = {name: 1 << number for number, name in enumerate(_NAMES)}
_REGISTERS = (1 << len(_NAMES)) - 1
_ZERO = len(_NAMES) + 1024
"""The bit of the 8 bytes at the stack pointer; below are those beneath it."""
_SLOTS = 1 << 11
_EVERYTHING = (1 << (_ZERO + _SLOTS)) - 1
_RETURNED = ["x0", STACK, *(f"x{i}" for i in range(19, 31)), *(f"v{i}" for i in range(8, 16))]
"""What a caller reads, or may rely on (Procedure Call Standard for the Arm 64-bit Architecture, 6.1)."""
_SIZES = {"q": 16, "d": 8, "x": 8, "s": 4, "w": 4, "h": 2, "b": 1}


class Liveness:
    """`before[i]` is what is read from line i on before it is written, if line i is reached."""

    def __init__(self, lines: Sequence[AssemblyLine]) -> None:
        self._lines = lines
        labels = {line.label: i for i, line in enumerate(lines) if line.label}
        self.is_known = all(line.instruction is None or _is_understood(line.instruction, labels) for line in lines)
        self.before = [0] * (len(lines) + 1)
        if self.is_known:
            self._solve(labels)

    def live(self, at: int) -> set[str]:
        """The registers that are live before line `at`."""
        return {name for name in _NAMES if self.before[at] & _BIT[name]}

    def is_live(self, at: int, slots: Iterable[int]) -> bool:
        """Whether one of the 8 bytes at these offsets from the stack pointer is live before line `at`."""
        return any(self.before[at] & _slot(offset) for offset in slots)

    def _solve(self, labels: dict[str, int]) -> None:
        changed = True
        while changed:
            changed = False
            for i in range(len(self._lines) - 1, -1, -1):
                instruction = self._lines[i].instruction
                if instruction is None:
                    found = self.before[i + 1]
                else:
                    found = _before(instruction, self._after(i, instruction, labels))
                if found != self.before[i]:
                    self.before[i], changed = found, True

    def _after(self, i: int, instruction: Instruction, labels: dict[str, int]) -> int:
        if instruction.mnemonic == "ret":
            return 0
        if instruction.kind != Work.BRANCH or instruction.mnemonic in ("bl", "blr"):
            return self.before[i + 1]
        target = self.before[labels[instruction.operands[-1]]]
        return target if instruction.mnemonic == "b" else target | self.before[i + 1]


def stack_access(instruction: Instruction) -> tuple[int, int] | None:
    """The offset from the stack pointer and the bytes that a load or store of one or two registers touches.

    None if it does not use the stack pointer as its address. Raises ValueError for an offset that is no number.
    """
    at = next((i for i, operand in enumerate(instruction.operands) if operand.startswith("[sp")), None)
    if at is None:
        return None
    match = re.fullmatch(r"\[sp(?:, #(-?\d+))?\]!?", instruction.operands[at])
    if not match or instruction.operands[0][0] not in _SIZES:
        raise ValueError(f"{instruction.text}: this is no access of the stack")
    size = _SIZES[instruction.operands[0][0]] * at
    if instruction.mnemonic.endswith("b"):
        size = 1
    elif instruction.mnemonic.endswith("h"):
        size = 2
    return int(match[1] or 0), size


def _is_understood(instruction: Instruction, labels: dict[str, int]) -> bool:
    """Whether its successors and what it does to the stack pointer are known."""
    if instruction.mnemonic in ("br", "blr"):
        return False
    if instruction.kind == Work.BRANCH and instruction.mnemonic not in ("bl", "ret"):
        return instruction.operands[-1] in labels
    try:
        access = stack_access(instruction)
    except ValueError:
        return False
    if STACK in (*instruction.reads, *instruction.writes) and access is None:
        return _moves_stack(instruction) is not None
    return True


def _moves_stack(instruction: Instruction) -> int | None:
    """By how much an addition to the stack pointer moves it; None for anything else that names it."""
    match = re.fullmatch(r"(add|sub) sp, sp, #(\d+)(, lsl #12)?", instruction.text)
    if not match:
        return None
    amount = int(match[2]) << (12 if match[3] else 0)
    return amount if match[1] == "add" else -amount


def _slot(offset: int) -> int:
    return 1 << (_ZERO + offset // 8)


def _shifted(live: int, amount: int) -> int:
    """What is live, by its offset from a stack pointer that is `amount` lower."""
    slots = live >> len(_NAMES)
    slots = slots << amount // 8 if amount >= 0 else slots >> -amount // 8
    return live & _REGISTERS | slots << len(_NAMES)


def _before(instruction: Instruction, after: int) -> int:
    """What is live before an instruction, of what is live behind it."""
    if instruction.mnemonic == "ret":
        return _set(_RETURNED)
    if not instruction.is_known:  # a call too: it reads what it likes, and keeps it
        return _EVERYTHING
    access = stack_access(instruction)
    moved = _moves_stack(instruction) or 0
    if access is not None and instruction.updated:
        is_before = instruction.operands[-1].endswith("!")
        amount = access[0] if is_before else int(instruction.operands[-1].removeprefix("#"))
        after = _shifted(after, amount) if not is_before else after
        live = _through(instruction, after, 0 if is_before else access[0], access[1])
        return _shifted(live, amount) if is_before else live
    after = _shifted(after, moved)
    return _through(instruction, after, *(access or (0, 0)))


def _through(instruction: Instruction, after: int, offset: int, size: int) -> int:
    live = after & ~_set(instruction.writes) | _set(instruction.reads)
    if STACK in instruction.writes:
        live |= _BIT[STACK]
    if instruction.mnemonic.startswith("ld"):
        for at in range(offset // 8 * 8, offset + size, 8):
            live |= _slot(at)
    elif size:
        for at in range(-(-offset // 8) * 8, offset + size - 7, 8):
            live &= ~_slot(at)
    return live


def _set(names: Iterable[str]) -> int:
    found = 0
    for name in names:
        found |= _BIT[name]
    return found
