"""Measure the parts of a model on this host: instructions under QEMU's user emulation, or CPU time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tzml.bench.kernels import Kernels, random_inputs
from tzml.bundle import Bundle, Target, Worlds
from tzml.bundle.streaming import bytes_loaded
from tzml.compiler import TARGETS
from tzml.compiler.metadata import source_digest
from tzml.partitioning.costs import RangeCost
from tzml.partitioning.layered import LayeredModel
from tzml.partitioning.profile import LayerRow, MachineCosts, PartCost, Profile, Unit, ValueRow

_ROUNDS = 3
"""How often a program is started where time is measured: other load may pause meanwhile."""

Meter = Callable[[Bundle], tuple[float, float]]
"""The cost of one run of a bundle's only program in the normal world, and of computing the same in the TEE."""


def unit_of(target: str) -> Unit:
    """What is measured on this host for a target: instructions of other processors, seconds of its own."""
    return "instructions" if TARGETS[target].processor == Target.aarch64 else "seconds"


def meter_here(target: str, repeat: int, tee_ratio: float = 1.0) -> Meter:
    """A function that measures on this host; times are the least of `repeat` runs in each of three rounds.

    Both worlds run the same kernels: in the TEE they cost `tee_ratio` times as much.
    """

    def measure(bundle: Bundle) -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as name:
            taken = random_inputs(bundle.tensors[port.tensor] for port in bundle.program.inputs)
            kernels = Kernels(bundle, TARGETS[target].cc, Path(name), taken)
            rounds = 1 if unit_of(target) == "instructions" else _ROUNDS
            cost = min(kernels.measure(repeat).value for _ in range(rounds))
            return cost, tee_ratio * cost

    return measure


def profile_model(
    model: LayeredModel,
    meter: Meter,
    unit: Unit,
    machine: MachineCosts | None,
    secure_memory: int | None = None,
    cuts: Collection[int] | None = None,
) -> Profile:
    """The profile of a model: what each head and tail costs, as it is compiled, and what passes between layers.

    With `secure_memory`, parts are compiled to fit, for a meter that runs them in the TEE. `cuts` are the indices
    of the layers before which cuts are measured (None: all). Raises CompileError, TzmlError.
    """
    code_memory = 0

    def cost(bundle: Bundle) -> PartCost:
        nonlocal code_memory
        code_memory = max(code_memory, bundle.code_memory)
        ree, tee = meter(bundle)
        return PartCost(ree=ree, tee=tee, arena=bundle.memory.arena_size, weights=sum(map(len, bundle.chunks)))

    count = len(model.layers)
    whole = cost(model.whole(secure_memory))
    heads: list[PartCost | None] = [None] * (count - 1)
    tails = heads.copy()
    wanted = range(1, count) if cuts is None else sorted(cuts)
    for done, at in enumerate(wanted):
        model.progress("measuring", done, len(wanted))
        head, tail = model.halves(at, secure_memory)
        heads[at - 1], tails[at - 1] = cost(head), cost(tail)
    return Profile(
        model=model.path.name,
        sha256=source_digest(model.path),
        target=model.options.target,
        unit=unit,
        layers=[
            LayerRow(number=layer.number, name=layer.name, operator=layer.operator, weights=layer.weights)
            for layer in model.layers
        ],
        values=[
            ValueRow(size=v.size, source=v.source, users=list(v.users), is_output=v.is_output)
            for v in model.values()
        ],
        whole=whole,
        heads=heads,
        tails=tails,
        code_memory=code_memory,
        machine=machine,
    )


def even_cuts(count: int, most: int) -> list[int]:
    """At most so many of the cuts between `count` layers, evenly."""
    if most >= count - 1:
        return list(range(1, count))
    return sorted({round((i + 1) * count / (most + 1)) for i in range(most)})


@dataclass(frozen=True)
class MeasuredRange:
    """A range as it was compiled: its costs as in RangeCost, and the bundle's promise of secure memory."""

    predicted: RangeCost
    before: float
    tee: float
    behind: float
    streamed: int
    secure_memory: int

    @property
    def latency(self) -> float:
        """Of one inference."""
        return self.before + self.tee + self.behind

    @property
    def bottleneck(self) -> float:
        """Between two results, if each world works on another input at the same time."""
        return max(self.before + self.behind, self.tee)


def measure_range(
    model: LayeredModel, predicted: RangeCost, secure_memory: int, meter: Meter, machine: MachineCosts
) -> MeasuredRange:
    """Compile a range for that much secure memory, measure its parts, and add what the machine takes for the TEE.

    Raises CompileError if it does not fit.
    """
    made = model.partition(predicted.inside, secure_memory)
    place = next(number for number, (_, worlds) in enumerate(made.parts) if worlds == Worlds.tee)
    costs = [meter(bundle) for bundle, _ in made.parts]
    secure = made.parts[place][0]
    streamed = bytes_loaded(secure.program, secure.memory)
    return MeasuredRange(
        predicted,
        before=sum(ree + machine.run for ree, _ in costs[:place]),
        tee=costs[place][1] + machine.entering(predicted.passed, streamed),
        behind=sum(ree + machine.run for ree, _ in costs[place + 1 :]),
        streamed=streamed,
        secure_memory=made.bundle.secure_memory,
    )
