"""Rules of the Cortex-A53: which instructions start together, how long they keep others from starting, and when
their results are there.

The core starts two instructions a cycle, in order. Sources:

- ncnn, docs/developer-guide/arm-a53-a55-dual-issue.md, measured by its authors: a 128-bit vector load starts
  alone and takes two cycles. A 64-bit vector load takes one, and starts beside INS but not beside FMLA. A 64-bit
  load into a general register and address arithmetic start beside FMLA. Its rule that no vector load starts in the
  fourth cycle of an FMLA is not modelled.
- LLVM, llvm/lib/Target/AArch64/AArch64SchedA53.td: one unit each for loads and stores, branches, multiplication.
- Assumed: all latencies (a multiply-add reaches the accumulator of the next in 4 cycles, other operands in 8), and
  what stores, LDP and divisions take. Arm has published no guide for this core.
"""

from __future__ import annotations

from tzml.cortex_a53.instruction import Instruction, Kind

WIDTH = 2
"""Instructions that start in a cycle, at most."""

_LOADS_AND_STORES = {
    Kind.LOAD_X, Kind.LOAD_XX, Kind.LOAD_D, Kind.LOAD_DD, Kind.LOAD_Q, Kind.LOAD_QQ, Kind.LOAD_REPEATED,
    Kind.LOAD_LANE, Kind.LOAD_STRUCTURE, Kind.STORE_X, Kind.STORE_V, Kind.STORE_QQ, Kind.STORE_STRUCTURE,
    Kind.PREFETCH,
}  # fmt: skip
_ALONE = {Kind.LOAD_Q, Kind.LOAD_QQ, Kind.LOAD_STRUCTURE, Kind.STORE_STRUCTURE}
_TO_VECTORS = {Kind.LOAD_D, Kind.LOAD_DD, Kind.LOAD_REPEATED, Kind.LOAD_LANE}
_VECTORS = {Kind.VECTOR_128, Kind.VECTOR_64, Kind.DIVIDE, Kind.INSERT, Kind.TO_GENERAL}
_HALF_OF_THE_VECTOR_UNIT = {Kind.VECTOR_64, Kind.INSERT}
_SINGLE_UNITS = ({Kind.BRANCH}, {Kind.MULTIPLY}, _LOADS_AND_STORES)

_BUSY = {Kind.LOAD_Q: 2, Kind.LOAD_QQ: 4, Kind.LOAD_DD: 2, Kind.LOAD_XX: 2, Kind.LOAD_LANE: 2, Kind.STORE_QQ: 2}
_BUSY |= {Kind.DIVIDE: 10}

_LATENCY = {
    Kind.ALU: 1, Kind.BRANCH: 1, Kind.PREFETCH: 1, Kind.MULTIPLY: 3, Kind.INSERT: 3, Kind.TO_GENERAL: 4,
    Kind.LOAD_X: 3, Kind.LOAD_XX: 3, Kind.LOAD_D: 4, Kind.LOAD_DD: 4, Kind.LOAD_Q: 5, Kind.LOAD_QQ: 7,
    Kind.LOAD_REPEATED: 5, Kind.LOAD_LANE: 5, Kind.DIVIDE: 18,
}  # fmt: skip
_MULTIPLY_ADD = {"fmla", "fmls", "fmadd", "fmsub", "fnmadd", "fnmsub"}
_INTEGER_PRODUCT = ("smlal", "umlal", "smull", "umull", "mul", "mla", "sadalp", "uadalp", "sdot", "udot")
_TO_ACCUMULATOR = 4
_UPDATE = 1
"""Cycles until the next instruction has the address that a load or store changed."""


def start_together(first: Kind, second: Kind) -> bool:
    """Whether the second instruction can start in the cycle of the first, which is before it in the program."""
    both = {first, second}
    if both & _ALONE:
        return False
    if first in _VECTORS and second in _VECTORS:
        return both <= _HALF_OF_THE_VECTOR_UNIT
    if both & _TO_VECTORS and both & _VECTORS:
        return Kind.INSERT in both
    return not any(first in unit and second in unit for unit in _SINGLE_UNITS)


def busy(instruction: Instruction) -> int:
    """Cycles that it keeps the core busy: where more than one, nothing starts until they are over."""
    if instruction.kind in (Kind.LOAD_STRUCTURE, Kind.STORE_STRUCTURE):
        return instruction.size
    return _BUSY.get(instruction.kind, 1)


def latency(producer: Instruction, register: str, *, to_accumulator: bool) -> int:
    """Cycles from the start of `producer` until what it writes to `register` can be used.

    With `to_accumulator`, it is used as what a multiply-accumulate adds to.
    """
    if register == producer.updated:
        return _UPDATE
    if to_accumulator and producer.accumulator == register:
        return _TO_ACCUMULATOR
    if producer.kind == Kind.LOAD_STRUCTURE:
        return 3 + producer.size
    if producer.kind in _LATENCY:
        return _LATENCY[producer.kind]
    if producer.mnemonic in _MULTIPLY_ADD:
        return 8
    if producer.mnemonic.startswith(_INTEGER_PRODUCT):
        return 4
    return 4 if producer.mnemonic.startswith("f") else 3
