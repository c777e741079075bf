"""Whether a loop that was written anew computes what LLVM's does: by running both on symbols.

A register holds a term: what instructions made of what was in registers when an iteration began. This knows nothing
of how the new loop came about. With `before` for the instructions in front of it, an iteration that is followed by
another one must end as LLVM's does with `before` behind it, and the last one as LLVM's does, in every register that
is read later. Branches must depend on the same term; memory that is read must be memory that LLVM's loop reads as
well in as many iterations; and nothing may be written but the stack below LLVM's stack pointer, which moves there
and back.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tzml.cortex_a53.instruction import FLAGS, STACK, Instruction, Work, parse

Term = tuple[Any, ...]


class NotTheSame(Exception):  # noqa: N818 - what is wrong is the new loop, not the caller
    """The new loop is not LLVM's loop."""


def check_loop(
    original: Sequence[Instruction],
    before: Sequence[str],
    first: Sequence[str],
    rest: Sequence[str],
    last: Sequence[str],
    needed: set[str],
    needed_behind: set[str],
) -> None:
    """Compare. `original` ends with its branch, and `first` with its own. Raises NotTheSame.

    `needed` are the registers that are live where an iteration of LLVM's loop begins, `needed_behind` those live
    behind the loop.
    """
    terms: dict[Term, int] = {}
    parts: dict[int, tuple[int, ...]] = {}
    *body, branch = original
    entered = _run(_parsed(before), _State(terms, parts))
    if entered.pointer % 16 or not all(entered.pointer <= place < 0 for place in entered.stack):
        raise NotTheSame("it writes to the stack where something else is")
    theirs = _run(body, _State(terms, parts))
    if not rest:
        ours = entered.copy()
        at = next((i for i, text in enumerate(first) if parse(text).kind == Work.BRANCH), -1)
        ours = _run(_parsed(first[:at]), ours)
        _same_branch(branch, theirs, parse(first[at]), ours, opposite=False)
        again = _run(_parsed(before), theirs.copy())
        saved = _saved(needed, entered)
        _same_registers(again, ours, needed - saved, _read_by(_parsed(first[: at + 1])))
        behind = _run(_parsed(first[at + 1 :]), ours.copy())
        _same_registers(theirs, behind, needed_behind, set())
        _same_memory(theirs, [behind])
        _same_stack(entered, [ours, behind])
        _same_stack(again, [ours], entered.stack)
        return
    ours = _run(_parsed(first[:-1]), entered.copy())
    _same_branch(branch, theirs, parse(first[-1]), ours, opposite=True)
    continued = _run(_parsed(rest), ours.copy())
    again = _run(_parsed(before), theirs.copy())
    # what the next iteration reads of ours must be what it would read when it is entered
    read = _read_by(_parsed([*first, *rest])) | _read_by(_parsed([*first, *last]))
    saved = _saved(needed, entered)
    _same_registers(again, continued, needed - saved, read)
    behind = _run(_parsed(last), ours.copy())
    _same_registers(theirs, behind, needed_behind, set())
    second = _run(body, theirs.copy())
    _same_memory(theirs, [behind])
    _same_memory(second, [continued])
    _same_stack(entered, [continued, behind])
    _same_stack(again, [continued], entered.stack)


def _saved(registers: set[str], state: _State) -> set[str]:
    """Those that are kept on the stack for the time of the loop."""
    return {register for register in registers if (state.number("began", register), 0) in state.stack.values()}


def _parsed(texts: Iterable[str]) -> list[Instruction]:
    return [parse(text) for text in texts]


@dataclass
class _State:
    """Terms in general registers and in both halves of vector registers; numbers that stand for terms."""

    terms: dict[Term, int]
    parts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """What a sum of several terms consists of."""
    general: dict[str, tuple[int, int]] = field(default_factory=dict)
    """A term and a number that is added to it."""
    vectors: dict[str, tuple[int, int]] = field(default_factory=dict)
    stack: dict[int, tuple[int, int]] = field(default_factory=dict)
    pointer: int = 0
    """How far the stack pointer was moved."""
    flags: int | None = None
    read: set[tuple[int, int]] = field(default_factory=set)
    """Eight bytes each: a term, and a number that is added to it."""

    def copy(self) -> _State:
        return _State(
            self.terms,
            self.parts,
            dict(self.general),
            dict(self.vectors),
            dict(self.stack),
            self.pointer,
            self.flags,
            set(self.read),
        )

    def number(self, *term: Any) -> int:
        return self.terms.setdefault(term, len(self.terms))

    def sum(self, one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
        """Of two values of general registers, in whatever order."""
        atoms = sorted((*self.parts.get(one[0], (one[0],)), *self.parts.get(other[0], (other[0],))))
        term = self.number("sum", *atoms)
        self.parts[term] = tuple(atoms)
        return term, one[1] + other[1]

    def of(self, register: str) -> tuple[int, int]:
        """What a register holds; at first, something of its own."""
        if register.startswith("v"):
            own = (self.number("low", register), self.number("high", register))
            return self.vectors.setdefault(register, own)
        return self.general.setdefault(register, (self.number("began", register), 0))

    def flag(self) -> int:
        return self.number("began", FLAGS) if self.flags is None else self.flags


def _run(instructions: Sequence[Instruction], state: _State) -> _State:
    for instruction in instructions:
        _step(instruction, state)
    return state


def _step(instruction: Instruction, state: _State) -> None:
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if mnemonic in ("ldr", "ldur", "ldp", "str", "stur", "stp"):
        _access(instruction, state)
    elif mnemonic in ("fmla", "fmls"):
        forms = tuple(re.sub(r"v\d+", "", operand) for operand in operands)
        if forms[:2] != (".4s", ".4s"):
            raise NotTheSame(f"{instruction.text}: its form is unknown")
        inputs = [state.of(_named(operand)) for operand in operands]
        state.vectors[_named(operands[0])] = (
            state.number(mnemonic, "low", forms, *inputs),
            state.number(mnemonic, "high", forms, *inputs),
        )
    elif mnemonic == "mov" and re.fullmatch(r"v\d+\.16b", operands[0]) and operands[1].endswith(".16b"):
        state.vectors[_named(operands[0])] = state.of(_named(operands[1]))
    elif mnemonic == "mov" and re.fullmatch(r"v\d+\.d\[1\]", operands[0]) and operands[1].startswith("x"):
        term, added = state.of(operands[1])
        if added:
            raise NotTheSame(f"{instruction.text}: an address goes into a vector")
        state.vectors[_named(operands[0])] = (state.of(_named(operands[0]))[0], term)
    elif any(register.startswith("v") for register in (*instruction.reads, *instruction.writes)):
        raise NotTheSame(f"{instruction.text}: nothing is known of it")
    else:
        _general(instruction, state)


def _named(operand: str) -> str:
    match = re.match(r"v\d+", operand)
    if not match:
        raise NotTheSame(f"{operand}: this is no vector register")
    return match[0]


def _general(instruction: Instruction, state: _State) -> None:
    pushed = re.fullmatch(r"(add|sub) sp, sp, #(\d+)", instruction.text)
    if pushed:
        state.pointer += int(pushed[2]) if pushed[1] == "add" else -int(pushed[2])
        return
    if STACK in (*instruction.reads, *instruction.writes):
        raise NotTheSame(f"{instruction.text}: it gives the stack another name")
    if not instruction.is_known or instruction.kind not in (Work.ALU, Work.MULTIPLY):
        raise NotTheSame(f"{instruction.text}: nothing is known of it")
    inputs = [state.of(register) for register in instruction.reads if register != FLAGS]
    inputs += [(state.flag(), 0)] if FLAGS in instruction.reads else []
    # the text without the numbers of its registers says what it does with what it reads
    form = re.sub(r"\b([wx])(\d+)\b", r"\1", instruction.text)
    term = state.number(form, *inputs)
    moved = re.fullmatch(r"(add|sub)s? (x\d+), (x\d+), #(\d+)(, lsl #12)?", instruction.text)
    added = re.fullmatch(r"adds? (x\d+), (x\d+), (x\d+)", instruction.text)
    total = state.sum(state.of(added[2]), state.of(added[3])) if added else (term, 0)
    for register in instruction.writes:
        if register == FLAGS:
            state.flags = state.number("flags", term)
        elif moved:
            base, before = state.of(moved[3])
            amount = int(moved[4]) << (12 if moved[5] else 0)
            state.general[register] = base, before + (amount if moved[1] == "add" else -amount)
        else:
            state.general[register] = total


def _access(instruction: Instruction, state: _State) -> None:
    operands = instruction.operands
    data, address = operands[:-1], operands[-1]
    match = re.fullmatch(r"\[(sp|x\d+)(?:, #(-?\d+))?\]", address)
    kinds = {operand[0] for operand in data}
    if not match or len(kinds) != 1 or not kinds <= set("qdx"):
        raise NotTheSame(f"{instruction.text}: nothing is known of its address")
    kind = kinds.pop()
    size = 16 if kind == "q" else 8
    offset = int(match[2] or 0)
    for i, operand in enumerate(data):
        register = f"v{operand[1:]}" if kind != "x" else operand
        at = offset + i * size
        if match[1] == "sp":
            _on_stack(instruction, state, register, state.pointer + at, size)
        elif instruction.mnemonic.startswith("st"):
            raise NotTheSame(f"{instruction.text}: it writes memory")
        else:
            base, added = state.of(match[1])
            halves = []
            for part in range(0, size, 8):
                state.read.add((base, added + at + part))
                halves.append(state.number("memory", base, added + at + part))
            if kind == "x":
                state.general[register] = halves[0], 0
            else:
                state.vectors[register] = halves[0], halves[1] if kind == "q" else state.number("zero")


def _on_stack(instruction: Instruction, state: _State, register: str, at: int, size: int) -> None:
    """Halves of a vector in 8 bytes each, or a general register in 8."""
    places = [at, at + 8][: size // 8]
    if instruction.operands[0][0] == "d" or at % 8:
        raise NotTheSame(f"{instruction.text}: nothing is known of it")
    if instruction.mnemonic.startswith("st"):
        held = state.of(register)
        values = [held] if size == 8 else [(half, 0) for half in held]
        state.stack |= dict(zip(places, values, strict=True))
        return
    if not all(place in state.stack for place in places):
        raise NotTheSame(f"{instruction.text}: it reads what the loop did not write")
    if size == 8:
        state.general[register] = state.stack[at]
    else:
        (low, _), (high, _) = (state.stack[place] for place in places)
        state.vectors[register] = low, high


def _same_branch(branch: Instruction, theirs: _State, ours: Instruction, state: _State, *, opposite: bool) -> None:
    """Both depend on the same term in the same way, or in the opposite one."""

    def condition(instruction: Instruction, at: _State) -> tuple[Any, ...]:
        name, _, code = instruction.mnemonic.partition(".")
        if code:
            return name, at.flag()
        return (
            name,
            at.of(f"x{instruction.operands[0][1:]}"),
            instruction.operands[0][0],
            *instruction.operands[1:-1],
        )

    pairs = ({"eq", "ne"}, {"hs", "lo"}, {"cs", "cc"}, {"hi", "ls"}, {"ge", "lt"}, {"gt", "le"}, {"mi", "pl"})
    code = branch.mnemonic.partition(".")[2], ours.mnemonic.partition(".")[2]
    one, other = condition(branch, theirs), condition(ours, state)
    if code[0]:
        fits = set(code) in pairs if opposite else code[0] == code[1]
        same = one == other
    else:
        names = {branch.mnemonic, ours.mnemonic}
        fits = names in ({"cbz", "cbnz"}, {"tbz", "tbnz"}) if opposite else len(names) == 1
        same = one[1:] == other[1:]
    if not fits or not same:
        raise NotTheSame(f"{ours.text}: it does not branch where {branch.text} does")


def _read_by(instructions: Sequence[Instruction]) -> set[str]:
    """The registers that are read before they are written."""
    written: set[str] = set()
    read: set[str] = set()
    for instruction in instructions:
        read |= set(instruction.reads) - written
        written |= set(instruction.writes)
    return read


def _same_registers(theirs: _State, ours: _State, needed: set[str], read: set[str]) -> None:
    for register in needed | read:
        if register == FLAGS:
            same = theirs.flag() == ours.flag() or register not in needed
        elif register == STACK:
            same = theirs.pointer == ours.pointer
        else:
            same = theirs.of(register) == ours.of(register)
        if not same:
            raise NotTheSame(f"{register} is not what it is in LLVM's loop")


def _same_stack(theirs: _State, ours: Iterable[_State], places: Iterable[int] | None = None) -> None:
    """What is kept on the stack is the same there, and nothing else was written to it."""
    expected = {place: theirs.stack[place] for place in (theirs.stack if places is None else places)}
    if any(state.stack != expected for state in ours):
        raise NotTheSame("it does not keep on the stack what it should")


def _same_memory(theirs: _State, ours: Iterable[_State]) -> None:
    for state in ours:
        if not state.read <= theirs.read:
            raise NotTheSame("it reads memory that LLVM's loop does not read")
