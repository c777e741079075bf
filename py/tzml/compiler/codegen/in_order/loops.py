"""Innermost loops that only load, multiply and add: what they compute, apart from how LLVM ordered it.

Such a loop is one block. Its vector registers hold sums, what was loaded, and what stays the same; its general
registers hold addresses, and whatever decides how often it runs. Copies of vectors, and those that LLVM keeps on
the stack for want of registers, are followed and vanish.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tzml.compiler.codegen.in_order.assembly import AssemblyLine
from tzml.compiler.codegen.in_order.liveness import Liveness, stack_access
from tzml.cortex_a53.instruction import FLAGS, STACK, Instruction, Work

_LEAST_PRODUCTS = 8
"""In fewer, there is nothing to gain."""
_ENOUGH = 6
"""General registers for upper halves of what is loaded, if there are as many."""
_NO_TEMPORARIES = {"x18", "x29", "x30"}
"""Of the platform, the frame and the caller (Procedure Call Standard for the Arm 64-bit Architecture, 6.1.1)."""


@dataclass(frozen=True)
class VectorLoad:
    """128 bits at the address in `base` when an iteration begins, plus `offset`."""

    base: str
    offset: int


@dataclass(frozen=True)
class Kept:
    """What a vector register holds in all iterations."""

    register: str


Operand = VectorLoad | Kept


@dataclass(frozen=True)
class Product:
    """`mnemonic` sum.4s, left.4s, right: `suffix` is that of the right operand, `.4s` or an element."""

    mnemonic: str
    sum: str
    left: Operand
    right: Operand
    suffix: str


@dataclass
class Loop:
    """Lines `begin` (its label) to `end` (behind its branch) of a function.

    `products` are in an order that keeps that of each sum. `scalars` are all instructions on general registers, in
    their order, and `branch` goes back to the label. `vectors` and `general` are registers that nothing needs,
    within the loop and behind it; those in `saved` are needed behind it, and are to be kept on the stack for as
    long, at that offset from a stack pointer that is lowered by `stack` bytes.
    """

    begin: int
    end: int
    products: list[Product]
    scalars: list[Instruction]
    branch: Instruction
    vectors: list[str]
    general: list[str]
    saved: dict[str, int]

    @property
    def stack(self) -> int:
        return -(-8 * len(self.saved) // 16) * 16


def find_loops(lines: Sequence[AssemblyLine], liveness: Liveness) -> Iterator[Loop]:
    """The loops of a function that were understood as a whole."""
    for begin, end in _blocks_that_repeat(lines):
        body = [line.instruction for line in lines[begin + 1 : end] if line.instruction is not None]
        loop = _Reader(begin, end, body, liveness).read()
        if loop is not None:
            yield loop


def _blocks_that_repeat(lines: Sequence[AssemblyLine]) -> Iterator[tuple[int, int]]:
    """From a label to behind the branch to it, where nothing else is between but instructions."""
    begin = None
    for i, line in enumerate(lines):
        if line.label:
            begin = i
        elif line.instruction is None:
            begin = None
        elif line.instruction.kind == Work.BRANCH:
            if begin is not None and line.instruction.operands[-1:] == (lines[begin].label,):
                yield begin, i + 1
            begin = None


class _NotUnderstood(Exception):  # noqa: N818 - it is no error: the loop stays as it is
    pass


@dataclass
class _Sum:
    """What a register adds up: it held the register's own value when the iteration began."""

    register: str


Value = Operand | _Sum


@dataclass
class _Reader:
    begin: int
    end: int
    body: list[Instruction]
    liveness: Liveness
    addresses: dict[str, tuple[str, int] | None] = field(default_factory=dict)
    """What is known of general registers: one that held the address when the iteration began, and how far on."""
    values: dict[str, Value] = field(default_factory=dict)
    stack: dict[int, Value] = field(default_factory=dict)
    products: list[tuple[Product, _Sum]] = field(default_factory=list)
    scalars: list[Instruction] = field(default_factory=list)

    def read(self) -> Loop | None:
        *body, branch = self.body
        if not self.liveness.is_known or branch.mnemonic == "b":
            return None
        if sum(i.mnemonic in ("fmla", "fmls") for i in body) < _LEAST_PRODUCTS:
            return None
        try:
            for instruction in body:
                self._step(instruction)
            self._check_end()
        except _NotUnderstood:
            return None
        live = self.liveness.live(self.begin) | self.liveness.live(self.end)
        scalars = _needed(self.scalars, live | {*branch.reads})
        used = {register for i in scalars for register in (*i.reads, *i.writes)} | {*branch.reads}
        vectors = [f"v{i}" for i in range(32) if f"v{i}" not in live]
        candidates = [f"x{i}" for i in range(31) if f"x{i}" not in used | _NO_TEMPORARIES]
        candidates = [register for register in candidates if self._is_no_base(register)]
        general = [register for register in candidates if register not in live]
        saved: dict[str, int] = {}
        if len(general) < _ENOUGH:
            others = [register for register in candidates if register in live]
            saved = {register: 8 * i for i, register in enumerate(others[: _ENOUGH - len(general)])}
        products = [product for product, _ in self.products]
        return Loop(self.begin, self.end, products, scalars, branch, vectors, [*general, *saved], saved)

    def _is_no_base(self, register: str) -> bool:
        operands = [operand for product, _ in self.products for operand in (product.left, product.right)]
        return all(not isinstance(operand, VectorLoad) or operand.base != register for operand in operands)

    def _step(self, instruction: Instruction) -> None:
        vectors = [r for r in (*instruction.reads, *instruction.writes) if r.startswith("v")]
        if not instruction.is_known:
            raise _NotUnderstood
        if not vectors:
            self._scalar(instruction)
        elif instruction.mnemonic in ("fmla", "fmls"):
            self._product(instruction)
        elif instruction.mnemonic == "mov" and instruction.kind == Work.VECTOR_128:
            self.values[instruction.writes[0]] = self._value(instruction.reads[0])
        elif instruction.kind in (
            Work.LOAD_Q,
            Work.LOAD_QQ,
            Work.STORE_V,
            Work.STORE_QQ,
        ):
            self._access(instruction)
        else:
            raise _NotUnderstood

    def _scalar(self, instruction: Instruction) -> None:
        if instruction.kind not in (Work.ALU, Work.MULTIPLY) or STACK in instruction.writes + instruction.reads:
            raise _NotUnderstood
        self.scalars.append(instruction)
        for register in instruction.writes:
            if register != FLAGS:
                self.addresses[register] = self._sum_of(instruction)

    def _sum_of(self, instruction: Instruction) -> tuple[str, int] | None:
        """What an addition of a constant makes of an address; None for anything else."""
        match = re.fullmatch(r"(add|sub)s? (x\d+), (x\d+), #(\d+)(, lsl #12)?", instruction.text)
        before = self.addresses.get(match[3], (match[3], 0)) if match else None
        if not match or before is None:
            return None
        amount = int(match[4]) << (12 if match[5] else 0)
        return before[0], before[1] + (amount if match[1] == "add" else -amount)

    def _product(self, instruction: Instruction) -> None:
        target, left, right = instruction.operands
        match = re.fullmatch(r"v\d+(\.4s|\.s\[\d\])", right)
        if not target.endswith(".4s") or not left.endswith(".4s") or not match:
            raise _NotUnderstood
        total = self.values.setdefault(instruction.writes[0], _Sum(instruction.writes[0]))
        first, second = (self._value(register) for register in instruction.reads[:2])
        if not isinstance(total, _Sum) or isinstance(first, _Sum) or isinstance(second, _Sum):
            raise _NotUnderstood
        product = Product(instruction.mnemonic, total.register, first, second, match[1])
        self.products.append((product, total))

    def _value(self, register: str) -> Value:
        return self.values.setdefault(register, Kept(register))

    def _access(self, instruction: Instruction) -> None:
        if instruction.updated:
            raise _NotUnderstood
        registers = [r for r in (instruction.reads + instruction.writes) if r.startswith("v")]
        is_load = instruction.mnemonic.startswith("ld")
        on_stack = stack_access(instruction)
        if on_stack is not None:
            for i, register in enumerate(registers):
                if is_load:
                    value = self.stack.get(on_stack[0] + 16 * i)
                    if value is None:
                        raise _NotUnderstood
                    self.values[register] = value
                else:
                    self._keep(on_stack[0] + 16 * i, self._value(register))
            return
        match = re.fullmatch(r"\[x(\d+)(?:, #(-?\d+))?\]", instruction.operands[-1])
        if not is_load or not match:
            raise _NotUnderstood
        address = self.addresses.get(f"x{match[1]}", (f"x{match[1]}", 0))
        if address is None:
            raise _NotUnderstood
        for i, register in enumerate(registers):
            self.values[register] = VectorLoad(address[0], int(match[2] or 0) + address[1] + 16 * i)

    def _keep(self, offset: int, value: Value) -> None:
        if isinstance(value, _Sum) or self.liveness.is_live(self.end, (offset, offset + 8)):
            raise _NotUnderstood
        for other in [at for at in self.stack if abs(at - offset) < 16]:
            del self.stack[other]
        self.stack[offset] = value

    def _check_end(self) -> None:
        """What is needed behind an iteration is where it was before, and an address went on by a constant."""
        needed = self.liveness.live(self.begin) | self.liveness.live(self.end)
        for register, value in self.values.items():
            same = isinstance(value, _Sum | Kept) and value.register == register
            if register in needed and not same:
                raise _NotUnderstood
            if isinstance(value, _Sum) and not same:
                raise _NotUnderstood
        if any(total.register not in needed for _, total in self.products):
            raise _NotUnderstood
        # a slot of the stack that is read before it is written again would carry a value to the next iteration;
        # `_access` refuses that: what it reads was written in the same iteration


def _needed(scalars: Sequence[Instruction], live: set[str]) -> list[Instruction]:
    """Without those whose results only loads use, as their addresses."""
    found: list[Instruction] = []
    for instruction in reversed(scalars):
        if set(instruction.writes) & live:
            found.insert(0, instruction)
            live = live | {*instruction.reads}
    return found
