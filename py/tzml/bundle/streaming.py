"""What a plan loads while it runs, as runtime/model.c and runtime/run.c do it."""

from __future__ import annotations

from tzml.bundle.plan import Plan, Region


def loads_by_call(plan: Plan) -> list[list[int]]:
    """The chunks that each call has to wait for, in an inference that follows another."""
    present: set[int] = set()
    for number, chunk in enumerate(plan.chunks):  # opening a model loads what has room
        if not any(chunk.overlaps(plan.chunks[other]) for other in present):
            present.add(number)
    _run(plan, present)
    return _run(plan, present)


def bytes_loaded(plan: Plan) -> int:
    """Bytes of weights that each inference after the first loads."""
    return sum(plan.chunks[number].size for numbers in loads_by_call(plan) for number in numbers)


def _run(plan: Plan, present: set[int]) -> list[list[int]]:
    """One inference; `present` are the chunks that are in memory."""
    loads = []
    for call in plan.calls:
        taken = dict.fromkeys(a.chunk for a in call.arguments if a.region == Region.weights)
        missing = [number for number in taken if number not in present]
        for number in missing:
            present -= {other for other in present if plan.chunks[number].overlaps(plan.chunks[other])}
            present.add(number)
        loads.append(missing)
    return loads
