"""What a program loads while it runs, as runtime/model.c and runtime/run.c do it."""

from __future__ import annotations

from tzml.bundle.content import Memory, Program, Region


def loads_by_call(program: Program, memory: Memory) -> list[list[int]]:
    """The chunks that each call has to wait for, in a run that follows another of the same program."""
    present: set[int] = set()
    for number, chunk in enumerate(memory.chunks):  # opening a model loads what has room
        if not any(chunk.overlaps(memory.chunks[other]) for other in present):
            present.add(number)
    _run(program, memory, present)
    return _run(program, memory, present)


def bytes_loaded(program: Program, memory: Memory) -> int:
    """Bytes of weights that each run after the first loads."""
    return sum(memory.chunks[number].size for numbers in loads_by_call(program, memory) for number in numbers)


def _run(program: Program, memory: Memory, present: set[int]) -> list[list[int]]:
    """One run; `present` are the chunks that are in memory."""
    chunks, loads = memory.chunks, []
    for call in program.calls:
        taken = dict.fromkeys(a.chunk for a in call.arguments if a.region == Region.weights)
        missing = [number for number in taken if number not in present]
        for number in missing:
            present -= {other for other in present if chunks[number].overlaps(chunks[other])}
            present.add(number)
        loads.append(missing)
    return loads
