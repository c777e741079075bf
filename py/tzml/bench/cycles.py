"""Cycles of a Cortex-A53, estimated from the blocks of instructions that QEMU's plugin recorded.

Every block is simulated behind those that mostly came before it, so that it begins with what they left unfinished:
an iteration of a loop begins with the end of the one before. Caches and branches never miss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tzml.cortex_a53.disassembler import disassemble
from tzml.cortex_a53.instruction import Instruction, parse
from tzml.cortex_a53.pipeline import starts
from tzml.errors import TzmlError

_COVERED = 0.995
"""The share of all instructions that is simulated; the others are taken to be as fast as these."""
_WARM_UP = 4
_REPEAT = 8
_BEFORE = 64
"""Instructions that are simulated before a block that is in no loop, at least if there are as many."""


@dataclass(frozen=True)
class ExecutedBlock:
    """Instructions with no branch but at their end, executed `count` times, mostly after the block at `before`."""

    count: int
    before: int
    address: int
    words: tuple[int, ...]

    @property
    def instructions(self) -> int:
        """How many were executed."""
        return self.count * len(self.words)


@dataclass(frozen=True)
class Estimate:
    """`multiply_adds` is the number of 128-bit FMLA and FMLS that were executed."""

    instructions: int
    cycles: float
    multiply_adds: int


def read_blocks(path: Path) -> list[ExecutedBlock]:
    """The blocks in a file of the plugin. Raises TzmlError for one that is damaged."""
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.fullmatch(r"(\d+) ([0-9a-f]+) ([0-9a-f]+) ((?:[0-9a-f]{8})+)", line)
        if not match:
            raise TzmlError(f"{path.name}, line {number}: this is no block of instructions", "measure again")
        words = tuple(int(match[4][i : i + 8], 16) for i in range(0, len(match[4]), 8))
        found.append(ExecutedBlock(int(match[1]), int(match[2], 16), int(match[3], 16), words))
    return found


def estimate(blocks: Iterable[ExecutedBlock]) -> Estimate:
    """Cycles of all blocks together. Raises TzmlError if objdump is not installed."""
    ordered = sorted(blocks, key=lambda block: -block.instructions)
    total = sum(block.instructions for block in ordered)
    by_address: dict[int, ExecutedBlock] = {}
    for block in ordered:
        by_address.setdefault(block.address, block)
    decoded = _decode({word for block in ordered for word in block.words})
    cycles, covered, products = 0.0, 0, 0
    for block in ordered:
        products += block.count * sum(_is_product(decoded[word]) for word in block.words)
        if covered < _COVERED * total:
            cycles += block.count * _cycles(block, by_address, decoded)
            covered += block.instructions
    return Estimate(total, cycles * total / covered if covered else 0.0, products)


def _cycles(
    block: ExecutedBlock, by_address: Mapping[int, ExecutedBlock], decoded: Mapping[int, Instruction]
) -> float:
    """From the start of the last instruction before the block to that of its own last one."""
    path = [block]
    loop = False
    while len(path) <= _BEFORE:
        before = by_address.get(path[0].before)
        if before is None or before is block:
            loop = before is block
            break
        if before in path or sum(len(other.words) for other in path[:-1]) > _BEFORE:
            break
        path.insert(0, before)
    sequence = [decoded[word] for part in path for word in part.words]
    if loop:
        period, count = len(sequence), _WARM_UP + _REPEAT
        found = starts(sequence * count)
        own = [
            found[(i + 1) * period - 1] - found[(i + 1) * period - 1 - len(block.words)]
            for i in range(_WARM_UP, count)
        ]
        return sum(own) / len(own)
    found = starts(sequence)
    first = len(sequence) - len(block.words)
    return found[-1] - (found[first - 1] if first else -1)


def _is_product(instruction: Instruction) -> bool:
    return instruction.mnemonic in ("fmla", "fmls") and instruction.operands[0].endswith(".4s")


def _decode(words: set[int]) -> dict[int, Instruction]:
    """Each instruction word, disassembled by binutils."""
    ordered = sorted(words)
    code = b"".join(word.to_bytes(4, "little") for word in ordered)
    listing = disassemble(code, "-D", "-b", "binary", "-m", "aarch64")
    texts = re.findall(r"^ *[0-9a-f]+:\t[0-9a-f]{8} ?\t(.*)$", listing, re.MULTILINE)
    if len(texts) != len(ordered):
        raise TzmlError(f"objdump read {len(texts)} of {len(ordered)} instructions")
    return {word: parse(text) for word, text in zip(ordered, texts, strict=True)}
