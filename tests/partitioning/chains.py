"""Profiles of chains of layers whose costs add up as they are said to."""

from __future__ import annotations

import random
from itertools import accumulate

from tzml.partitioning.profile import LayerRow, MachineCosts, PartCost, Profile, ValueRow

MACHINE = MachineCosts(name="test", unit="instructions", run=500, switch=1000, transfer=2, load=3, tee_ratio=1.5)


def chain(
    costs: list[float],
    conversions: list[float],
    weights: list[int],
    sizes: list[int],
    arenas: list[int],
    skips: tuple[tuple[int, int], ...] = (),
    machine: MachineCosts | None = MACHINE,
) -> Profile:
    """Layers that cost so much in the normal world, and half as much again in the TEE.

    `conversions[c]` is what the cut before layer c adds on each side, `sizes[c]` the bytes that cross there, and
    the last of `sizes` those of the output. Each of `skips` is a value of 100 bytes from one layer to another.
    """
    n = len(costs)

    def part(i: int, j: int) -> PartCost:
        ree = sum(costs[i:j]) + (conversions[i] if i else 0) + (conversions[j] if j < n else 0)
        return PartCost(ree=ree, tee=1.5 * ree, arena=max(arenas[i:j]), weights=sum(weights[i:j]))

    values = [
        ValueRow(size=sizes[c], source=c - 1, users=[c] if c < n else [], is_output=c == n) for c in range(n + 1)
    ]
    values += [ValueRow(size=100, source=a, users=[b], is_output=False) for a, b in skips]
    return Profile(
        model="chain.onnx",
        sha256="0" * 64,
        target="qemu",
        unit="instructions",
        layers=[
            LayerRow(number=i + 1, name=f"layer{i}", operator="Conv", weights=w) for i, w in enumerate(weights)
        ],
        values=values,
        whole=part(0, n),
        heads=[part(0, i) for i in range(1, n)],
        tails=[part(i, n) for i in range(1, n)],
        code_memory=300_000,
        machine=machine,
    )


def random_chain(seed: int, count: int = 7) -> Profile:
    """A chain of random numbers."""
    rng = random.Random(seed)
    numbers = [[rng.randint(1, 10**6) for _ in range(count + 1)] for _ in range(5)]
    costs, conversions, weights, sizes, arenas = numbers
    arenas = list(accumulate(arenas[:count], max)) if seed % 2 else arenas[:count]
    return chain(list(map(float, costs[:count])), list(map(float, conversions)), weights[:count], sizes, arenas)
