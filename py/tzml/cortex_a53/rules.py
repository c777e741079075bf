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

from tzml.cortex_a53.instruction import Instruction, Work

WIDTH = 2
"""Instructions that start in a cycle, at most."""

_LOADS_AND_STORES = {
    Work.LOAD_X, Work.LOAD_XX, Work.LOAD_D, Work.LOAD_DD, Work.LOAD_Q, Work.LOAD_QQ, Work.LOAD_REPEATED,
    Work.LOAD_LANE, Work.LOAD_STRUCTURE, Work.STORE_X, Work.STORE_V, Work.STORE_QQ, Work.STORE_STRUCTURE,
    Work.PREFETCH,
}  # fmt: skip
_ALONE = {Work.LOAD_Q, Work.LOAD_QQ, Work.LOAD_STRUCTURE, Work.STORE_STRUCTURE}
_TO_VECTORS = {Work.LOAD_D, Work.LOAD_DD, Work.LOAD_REPEATED, Work.LOAD_LANE}
_VECTORS = {Work.VECTOR_128, Work.VECTOR_64, Work.DIVIDE, Work.INSERT, Work.TO_GENERAL}
_HALF_OF_THE_VECTOR_UNIT = {Work.VECTOR_64, Work.INSERT}
_SINGLE_UNITS = ({Work.BRANCH}, {Work.MULTIPLY}, _LOADS_AND_STORES)

_BUSY = {Work.LOAD_Q: 2, Work.LOAD_QQ: 4, Work.LOAD_DD: 2, Work.LOAD_XX: 2, Work.LOAD_LANE: 2, Work.STORE_QQ: 2}
_BUSY |= {Work.DIVIDE: 10}

_LATENCY = {
    Work.ALU: 1, Work.BRANCH: 1, Work.PREFETCH: 1, Work.MULTIPLY: 3, Work.INSERT: 3, Work.TO_GENERAL: 4,
    Work.LOAD_X: 3, Work.LOAD_XX: 3, Work.LOAD_D: 4, Work.LOAD_DD: 4, Work.LOAD_Q: 5, Work.LOAD_QQ: 7,
    Work.LOAD_REPEATED: 5, Work.LOAD_LANE: 5, Work.DIVIDE: 18,
}  # fmt: skip
_MULTIPLY_ADD = {"fmla", "fmls", "fmadd", "fmsub", "fnmadd", "fnmsub"}
_INTEGER_PRODUCT = ("smlal", "umlal", "smull", "umull", "mul", "mla", "sadalp", "uadalp", "sdot", "udot")
_TO_ACCUMULATOR = 4
_UPDATE = 1
"""Cycles until the next instruction has the address that a load or store changed."""


def start_together(first: Work, second: Work) -> bool:
    """Whether the second instruction can start in the cycle of the first, which is before it in the program."""
    both = {first, second}
    if both & _ALONE:
        return False
    if first in _VECTORS and second in _VECTORS:
        return both <= _HALF_OF_THE_VECTOR_UNIT
    if both & _TO_VECTORS and both & _VECTORS:
        return Work.INSERT in both
    return not any(first in unit and second in unit for unit in _SINGLE_UNITS)


def busy(instruction: Instruction) -> int:
    """Cycles that it keeps the core busy: where more than one, nothing starts until they are over."""
    if instruction.kind in (Work.LOAD_STRUCTURE, Work.STORE_STRUCTURE):
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
    if producer.kind == Work.LOAD_STRUCTURE:
        return 3 + producer.size
    if producer.kind in _LATENCY:
        return _LATENCY[producer.kind]
    if producer.mnemonic in _MULTIPLY_ADD:
        return 8
    if producer.mnemonic.startswith(_INTEGER_PRODUCT):
        return 4
    return 4 if producer.mnemonic.startswith("f") else 3
