"""The best ranges: those that no other one beats in both of two things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from tzml.errors import TzmlError
from tzml.partitioning.costs import RangeCost

Objective = Literal["latency", "throughput", "privacy"]
Measure = Callable[[RangeCost], float]


def pareto_front(costs: Iterable[RangeCost], cost: Measure, exposed: Measure) -> list[RangeCost]:
    """Those for which no other one has less of one and not more of the other, from the cheapest to the tightest."""
    kept: list[RangeCost] = []
    for found in sorted(costs, key=lambda c: (cost(c), exposed(c), c.inside.start, c.inside.stop)):
        if not kept or exposed(found) < exposed(kept[-1]):
            kept.append(found)
    return kept


def cost_of(objective: Objective) -> Measure:
    """What an objective makes small: of privacy, the latency is what is weighed against exposure."""
    return (lambda c: c.bottleneck) if objective == "throughput" else (lambda c: c.latency)


def choose(
    front: Sequence[RangeCost], objective: Objective, exposed: Measure, *, at_most: float, limit: float
) -> RangeCost:
    """The cheapest range that exposes at most `at_most`, or for privacy the tightest that costs at most `limit`.

    Raises TzmlError if there is none.
    """
    cost = cost_of(objective)
    if objective == "privacy":
        within = [found for found in front if cost(found) <= limit]
        if within:
            return min(within, key=lambda c: (exposed(c), cost(c)))
        what = "no range is as fast as that"
        raise TzmlError(what, "give more to --slowdown")
    tight = [found for found in front if exposed(found) <= at_most]
    if tight:
        return min(tight, key=cost)
    raise TzmlError(
        f"no range that fits has {1 - at_most:.0%} of the weights inside",
        "give more to --secure-memory, or less to --weights-inside",
    )


def thinned(front: Sequence[RangeCost], count: int, keep: RangeCost) -> list[RangeCost]:
    """At most `count` of the front, evenly, with both ends and `keep`."""
    if len(front) <= count:
        return list(front)
    picked = {round(i * (len(front) - 1) / (count - 1)) for i in range(count)} if count > 1 else set()
    picked.add(list(front).index(keep))
    if len(picked) > count:
        picked.remove(min((p for p in picked if front[p] != keep), key=lambda p: abs(p - list(front).index(keep))))
    return [front[p] for p in sorted(picked)]
