"""When instructions start, by the rules: no misses of caches, no wrongly predicted branches."""

from __future__ import annotations

from collections.abc import Iterable

from tzml.cortex_a53.instruction import FLAGS, Instruction, Work
from tzml.cortex_a53.rules import WIDTH, busy, latency, start_together


class IssuePipeline:
    """Starts instructions one after the other, each as soon as the rules let it."""

    def __init__(self) -> None:
        self._cycle = 0
        self._started: list[Work] = []  # in that cycle
        self._free = 0  # from when on anything can start
        self._producers: dict[str, tuple[Instruction, int]] = {}

    def start(self, instruction: Instruction) -> int:
        """The cycle in which the instruction starts, from 0."""
        earliest = max(self._free, self._ready(instruction))
        if earliest > self._cycle:
            self._cycle, self._started = earliest, []
        full = len(self._started) == WIDTH
        if full or (self._started and not start_together(self._started[0], instruction.kind)):
            self._cycle, self._started = self._cycle + 1, []
        self._started.append(instruction.kind)
        if busy(instruction) > 1:
            self._free = self._cycle + busy(instruction)
        for register in instruction.writes:
            self._producers[register] = instruction, self._cycle
        return self._cycle

    def _ready(self, instruction: Instruction) -> int:
        """When all that it reads is there. Flags are there at once: a compare and its branch start together."""
        found = 0
        for register in instruction.reads:
            if register in self._producers and register != FLAGS:
                producer, began = self._producers[register]
                to_accumulator = register == instruction.accumulator
                found = max(found, began + latency(producer, register, to_accumulator=to_accumulator))
        return found


def starts(instructions: Iterable[Instruction]) -> list[int]:
    """The cycle in which each of some instructions starts, on a core that has done nothing before."""
    pipeline = IssuePipeline()
    return [pipeline.start(instruction) for instruction in instructions]


def cycles_of_loop(body: Iterable[Instruction], warm_up: int = 4, repeat: int = 8) -> float:
    """Cycles that an iteration of a loop takes once it runs, the mean of `repeat` iterations."""
    instructions = list(body)
    found = starts(instructions * (warm_up + repeat))
    return (found[-1] - found[warm_up * len(instructions) - 1]) / repeat
