"""All layers in several TEEs, one after another: where to cut, by dynamic programming."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tzml.errors import TzmlError

StageCost = Callable[[int, int], float]
"""The cost of layers i to j - 1 as one stage; infinite if they do not fit into its memory."""


@dataclass(frozen=True)
class Stages:
    """Where the layers are cut: `ends[k]` is the index behind the last layer of stage k; `cost` was made small."""

    ends: tuple[int, ...]
    cost: float

    @property
    def ranges(self) -> list[range]:
        """The layers of each stage."""
        return [range(start, end) for start, end in zip((0, *self.ends), self.ends, strict=False)]


def best_stages(count: int, most: int, cost: StageCost, *, slowest: bool) -> Stages:
    """The cuts of `count` layers into at most `most` stages, with the least sum of costs or the least slowest one.

    Of cuts that cost the same, the one with the fewest stages. Raises TzmlError if none fits.
    """
    costs = {(i, j): cost(i, j) for i in range(count) for j in range(i + 1, count + 1)}
    best: list[dict[int, Stages]] = [{0: Stages((), 0.0)}]
    for _ in range(most):
        reached: dict[int, Stages] = {}
        for end in range(1, count + 1):
            for start, before in best[-1].items():
                if start >= end or math.isinf(costs[start, end]):
                    continue
                own = costs[start, end]
                total = max(before.cost, own) if slowest else before.cost + own
                if end not in reached or total < reached[end].cost:
                    reached[end] = Stages((*before.ends, end), total)
        best.append(reached)
    found = [reached[count] for reached in best if count in reached]
    if not found:
        raise TzmlError(
            f"the layers do not fit into {most} TEE{'s' * (most > 1)} of that size",
            "give more --tees or more --secure-memory",
        )
    return min(found, key=lambda stages: stages.cost)
