"""Follows a kernel library's code along all its paths, for every input at once.

Counting instructions shows of some inputs that they take equally many. Here, what a kernel loads from a tensor
is secret, and so is what is computed from it. What it is called with (addresses in the arena and the weights),
constants of the code, loop counters and addresses are public. The code is followed along all branches, into the
functions that it calls and through what it keeps on the stack, until nothing new is found. A branch on what is
secret decides how many instructions are taken. A load or store at an address that depends on it is seen by caches.
The rules are those of ctgrind (A. Langley, "Checking that functions are constant time with Valgrind", 2010), for
all inputs and all paths.

What cannot be followed is an error, never public: an instruction that nobody described, a jump to an address from
memory, a function that calls itself, a store into the code's own constants. That addresses stay in their tensors is
for codegen/refuse_indirect.py to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tzml.constant_time.accesses import access_of, number
from tzml.constant_time.state import ARGUMENTS, CODE, PUBLIC, SECRET, SOMEWHERE, TENSOR, Kind, MachineState, combine
from tzml.cortex_a53.disassembler import disassemble
from tzml.cortex_a53.instruction import FLAGS, STACK, Instruction, Work, parse
from tzml.errors import TzmlError

_ENTRY = "tzml_kernel_call"
_LINE = re.compile(r"^ *([0-9a-f]+):\t[0-9a-f]{8} ?\t(.*)$", re.MULTILINE)
_SYMBOL = re.compile(rf"^([0-9a-f]+) <{_ENTRY}>:$", re.MULTILINE)
_TARGET = re.compile(r"\b([0-9a-f]+) <[^>]*>$")
_CALLER = -1
_LOADS = {kind for kind in Work if kind.name.startswith("LOAD")}
_STORES = {kind for kind in Work if kind.name.startswith("STORE")}
_ENDS = {"b", "br", "ret"}
_NO_ADDRESSES = {PUBLIC, ARGUMENTS, CODE}


@dataclass(frozen=True)
class SecretUse:
    """An instruction that behaves otherwise for other numbers.

    `address` is its place in the library, `kernel` the number of the kernel that it belongs to; None if it is in a
    function that several call.
    """

    address: int
    text: str
    kernel: int | None

    def __str__(self) -> str:
        return f"{self.address:#x} `{self.text}`"


@dataclass(frozen=True)
class CodeReport:
    """Of a library.

    Attributes:
        branches: What decides by a secret which instructions come next.
        accesses: Loads and stores at addresses that depend on a secret.
        followed: How many instructions were followed.
        unreached: Addresses of those that no path leads to, padding left out.

    """

    branches: tuple[SecretUse, ...]
    accesses: tuple[SecretUse, ...]
    followed: int
    unreached: tuple[int, ...]


def check_library(elf: bytes) -> CodeReport:
    """Follow a library for AArch64, an ELF file that exports tzml_kernel_call.

    Raises TzmlError if binutils are not installed, and if the file or its code cannot be followed.
    """
    listing = disassemble(elf, "-d")
    entry = _SYMBOL.search(listing)
    if entry is None:
        raise TzmlError(f"no kernel library: it has no function {_ENTRY}")
    return _Library(_read(listing), int(entry[1], 16)).report()


@dataclass(frozen=True)
class _Step:
    """An instruction at its place, and where it branches to."""

    address: int
    instruction: Instruction
    target: int | None

    @property
    def is_branch(self) -> bool:
        return self.instruction.kind == Work.BRANCH

    def refuse(self, why: str) -> TzmlError:
        return TzmlError(f"the code at {self.address:#x}, `{self.instruction.text}`, cannot be followed: {why}")


def _read(listing: str) -> dict[int, _Step]:
    steps = {}
    for address, text in _LINE.findall(listing):
        instruction = parse(text)
        target = _TARGET.search(text.partition("//")[0].strip()) if instruction.kind == Work.BRANCH else None
        steps[int(address, 16)] = _Step(int(address, 16), instruction, int(target[1], 16) if target else None)
    return steps


class _Library:
    def __init__(self, steps: dict[int, _Step], entry: int) -> None:
        self.steps, self.entry = steps, entry
        self.heads = {step.target for step in steps.values() if step.target is not None}
        self.heads |= {step.address + 4 for step in steps.values() if step.is_branch}
        self.branches: set[int] = set()
        self.accesses: set[int] = set()
        self.kernels: set[int] = set()
        self.reached: set[int] = set()
        self.calls: dict[object, MachineState | None] = {}
        self.inside: list[int] = []

    def report(self) -> CodeReport:
        self._run(self.entry, MachineState.of_a_call())
        padding = {address for address, step in self.steps.items() if step.instruction.mnemonic in ("nop", "udf")}
        return CodeReport(
            tuple(map(self._use, sorted(self.branches))),
            tuple(map(self._use, sorted(self.accesses))),
            len(self.reached),
            tuple(sorted(self.steps.keys() - self.reached - padding)),
        )

    def _use(self, address: int) -> SecretUse:
        kernels = sorted(self.kernels)  # as they are numbered: so they are linked
        functions = {step.target for step in self.steps.values() if step.instruction.mnemonic == "bl"}
        start = max((f for f in functions.union(kernels) if f is not None and f <= address), default=None)
        kernel = kernels.index(start) if start in self.kernels else None
        return SecretUse(address, self.steps[address].instruction.text.partition(" <")[0], kernel)

    def _run(self, entry: int, start: MachineState) -> MachineState | None:
        """Follow a function until nothing changes. Returns what it leaves behind; None if it never returns."""
        before = {entry: start}
        waiting = [entry]
        after: MachineState | None = None
        while waiting:
            head = waiting.pop()
            state = before[head].copy()
            for target in self._block(head, state):
                if target == _CALLER:
                    after = after or state.copy()
                    after.join(state)
                elif target not in before:
                    before[target] = state.copy()
                    waiting.append(target)
                elif before[target].join(state) and target not in waiting:
                    waiting.append(target)
        return after

    def _block(self, address: int, state: MachineState) -> list[int]:
        """Carry out all instructions up to a branch. Returns where that leads to."""
        while True:
            step = self.steps.get(address)
            if step is None:
                raise TzmlError(f"the code cannot be followed: it leads to {address:#x}, where there is none")
            self.reached.add(address)
            if step.is_branch:
                return self._branch(step, state)
            self._carry_out(step, state)
            address += 4
            if address in self.heads:
                return [address]

    def _branch(self, step: _Step, state: MachineState) -> list[int]:
        mnemonic = step.instruction.mnemonic
        if any(state.registers[register] == SECRET for register in step.instruction.reads):
            self.branches.add(step.address)
        if mnemonic == "ret":
            return [_CALLER]
        if mnemonic == "br" and step.address >= self.entry:
            return self._cases(step.address)
        if step.target is None:
            raise step.refuse("it goes where a register says")
        if step.target < self.entry <= step.address:
            self.kernels.add(step.target)
        if mnemonic == "bl":
            return [step.address + 4] if self._call(step, step.target, state) else []
        return [step.target] if mnemonic == "b" else [step.target, step.address + 4]

    def _cases(self, address: int) -> list[int]:
        """Where a table of jumps in the library's last function, tzml_kernel_call, may lead: behind each end."""
        return [
            step.address + 4
            for step in self.steps.values()
            if step.address >= address and step.instruction.mnemonic in _ENDS and step.address + 4 in self.steps
        ]

    def _call(self, step: _Step, target: int, state: MachineState) -> bool:
        """Follow a function that is called. Returns whether it returns."""
        if target in self.inside:
            raise step.refuse("the function calls itself")
        state.registers["x30"] = PUBLIC
        key = target, state.key()
        if key not in self.calls:
            self.inside.append(target)
            self.calls[key] = self._run(target, state.copy())
            self.inside.pop()
        after = self.calls[key]
        if after is not None:
            state.registers, state.stack = after.registers.copy(), after.stack.copy()
        return after is not None

    def _carry_out(self, step: _Step, state: MachineState) -> None:
        instruction = step.instruction
        if not instruction.is_known:
            raise step.refuse("py/tzml/cortex_a53/instruction.py does not know it")
        if instruction.kind in _LOADS or instruction.kind in _STORES:
            self._access(step, state)
        elif instruction.kind != Work.PREFETCH:
            kind = _result(instruction, state)
            for register in instruction.writes:
                state.registers[register] = kind

    def _access(self, step: _Step, state: MachineState) -> None:
        access, registers = access_of(step.instruction), state.registers
        address = base = registers[access.base]
        if access.index:
            address = combine([base, *(registers[register] for register in access.index)])
        elif isinstance(base, tuple):
            address = base[0], base[1] + access.offset
        if address == SECRET:
            self.accesses.add(step.address)
        width = access.width * len(access.moved)
        for place, register in enumerate(access.moved):
            at, size = (0, width) if access.is_mixed else (place * access.width, access.width)
            if step.instruction.kind in _LOADS:
                self._load(step.instruction, state, address, at, size, register)
            elif address in _NO_ADDRESSES:
                raise step.refuse("it stores to no tensor and not to the stack")
            else:
                kinds = [registers[r] if r else PUBLIC for r in (access.moved if access.is_mixed else (register,))]
                self._store(state, address, at, size, kinds[0] if len(kinds) == 1 else combine(kinds))
        if access.update is not None and isinstance(base, tuple):
            registers[access.base] = base[0], base[1] + access.update
        elif step.instruction.updated and access.update is None:
            others = [register for register in step.instruction.reads if register not in access.moved]
            registers[access.base] = combine(registers[register] for register in others)

    def _load(
        self, instruction: Instruction, state: MachineState, address: Kind, at: int, size: int, register: str | None
    ) -> None:
        if isinstance(address, tuple):
            kind = state.load((address[0], address[1] + at), size)
        else:
            kind = {ARGUMENTS: TENSOR, CODE: PUBLIC}.get(address, SECRET)
        if register and instruction.kind == Work.LOAD_LANE:  # the register's other elements stay
            kind = combine([kind, state.registers[register]])
        if register:
            state.registers[register] = kind

    def _store(self, state: MachineState, address: Kind, at: int, size: int, kind: Kind) -> None:
        if isinstance(address, tuple):
            state.store((address[0], address[1] + at), size, kind)
        elif address == SOMEWHERE:
            state.store_somewhere(kind)


def _result(instruction: Instruction, state: MachineState) -> Kind:
    """What an instruction computes."""
    if instruction.mnemonic in ("adr", "adrp"):
        return CODE
    kind = combine(state.registers[register] for register in instruction.reads)
    if kind != SOMEWHERE or len(instruction.reads) != 1 or FLAGS in instruction.writes:
        return kind
    # arithmetic with an address on the stack
    base, operands = state.registers[instruction.reads[0]], instruction.operands
    if not isinstance(base, tuple):
        return kind
    if instruction.mnemonic == "mov":
        return base
    if instruction.mnemonic == "and" and instruction.writes == (STACK,):
        return base[0] + 1, 0
    distance = number(operands[2]) if instruction.mnemonic in ("add", "sub") else None
    if distance is None:
        return kind
    if len(operands) > 3:
        distance <<= int(operands[3].removeprefix("lsl #"))
    return base[0], base[1] + (distance if instruction.mnemonic == "add" else -distance)
