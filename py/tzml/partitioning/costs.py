"""What a range of layers in the TEE costs, as a profile predicts it.

Costs of layers do not add up: kernels of neighbours are fused, and a cut adds conversions of layout on both sides.
But the heads and tails of a profile have each cut in them. If what a cut adds depends on the cut alone, the layers
from i to j cost what the head up to j and the tail from i cost together, less the whole: both have the range in
them, and between them they have all layers and the two cuts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tzml.errors import TzmlError
from tzml.partitioning.profile import PartCost, Profile

_TABLES = 96 << 10
"""Secure memory for header, tables and rounding, in bytes: what the bundles of the zoo take at most."""

_Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class RangeCost:
    """What a model with the layers of `inside` in the TEE costs, in the profile's unit.

    Attributes:
        inside: indices of the layers, from 0
        before: in the normal world, before the TEE
        tee: in the TEE, with switch, transfers and loads
        behind: in the normal world, after the TEE
        passed: bytes that go into the TEE and come out of it
        streamed: bytes of weights that are loaded in each inference
        memory: bytes of secure memory, without what is streamed
        weights_inside: the part of the model's weights that is in the TEE, from 0 to 1
        gives_output: whether nothing that is computed inside goes on outside

    """

    inside: range
    before: float
    tee: float
    behind: float
    passed: int
    streamed: int
    memory: int
    weights_inside: float
    gives_output: bool

    @property
    def latency(self) -> float:
        """Of one inference."""
        return self.before + self.tee + self.behind

    @property
    def bottleneck(self) -> float:
        """Between two results, if each world works on another input at the same time."""
        return max(self.before + self.behind, self.tee)


class RangeCosts:
    """The costs of all ranges of a profile within `secure_memory` bytes. Raises TzmlError."""

    def __init__(self, profile: Profile, secure_memory: int) -> None:
        if profile.machine is None:
            raise TzmlError(
                "the profile does not say what going into the TEE costs",
                "measure the machine with tzml profile --machine, and give its file to tzml profile --costs",
            )
        self.profile, self.machine, self.secure_memory = profile, profile.machine, secure_memory
        self.count = len(profile.layers)
        self.weights = np.concatenate([[0], np.cumsum([layer.weights for layer in profile.layers])])

    def cost(self, inside: range) -> RangeCost | None:
        """Of a range; None if its activations do not fit into the memory, or a cut of it was not measured."""
        i, j = inside.start, inside.stop
        machine = self.machine
        if not {i, j} <= self.cuts:
            return None
        arena, weights = self.arena(i, j), self.packed_weights(i, j)
        room = self.secure_memory - self.profile.code_memory - _TABLES - arena
        if room < 0:
            return None
        streamed = self.streamed(i, j, weights, room)
        passed = int(self.passed_in[i, j] + self.passed_out[i, j])
        total = int(self.weights[-1])
        return RangeCost(
            inside,
            before=self.head(i).ree + machine.run if i else 0.0,
            tee=self.computing(i, j, "tee") + machine.entering(passed, streamed),
            behind=self.tail(j).ree + machine.run if j < self.count else 0.0,
            passed=passed,
            streamed=streamed,
            memory=self.profile.code_memory + _TABLES + arena + min(weights, room),
            weights_inside=float(self.weights[j] - self.weights[i]) / total if total else 1.0,
            gives_output=not bool(self.goes_on[i, j]),
        )

    @property
    def normal_world(self) -> float:
        """Of all layers in the normal world."""
        return self.profile.whole.ree + self.machine.run

    def all_ranges(self) -> list[RangeCost]:
        """The costs of all ranges that fit and have measured cuts."""
        ranges = (range(i, j) for i in range(self.count) for j in range(i + 1, self.count + 1))
        return [cost for cost in map(self.cost, ranges) if cost is not None]

    @cached_property
    def cuts(self) -> set[int]:
        """The indices of the layers before which a cut was measured, and both ends."""
        return {0, self.count, *(i for i, head in enumerate(self.profile.heads, 1) if head is not None)}

    def head(self, end: int) -> PartCost:
        """The layers before the one with that index, which is one of `cuts`."""
        found = self.profile.heads[end - 1] if end < self.count else self.profile.whole
        assert found is not None
        return found

    def tail(self, start: int) -> PartCost:
        """The layers from that index on."""
        found = self.profile.tails[start - 1] if start else self.profile.whole
        assert found is not None
        return found

    def computing(self, i: int, j: int, world: Literal["ree", "tee"]) -> float:
        """The kernels of layers i to j - 1, with the conversions of layout at both cuts."""
        found = [getattr(part, world) for part in (self.head(j), self.tail(i), self.profile.whole)]
        return max(0.0, float(found[0] + found[1] - found[2]))

    def arena(self, i: int, j: int) -> int:
        """Bytes of activations, at most: those of the smaller one of two parts that contain the range."""
        return min(self.head(j).arena, self.tail(i).arena)

    def packed_weights(self, i: int, j: int) -> int:
        """Bytes of constants as kernels take them."""
        found = self.head(j).weights + self.tail(i).weights - self.profile.whole.weights
        return max(0, found)

    def streamed(self, i: int, j: int, weights: int, room: int) -> int:
        """Bytes loaded in each inference: all that has no place beside the window for the largest layer."""
        if weights <= room:
            return 0
        largest = max(layer.weights for layer in self.profile.layers[i:j])
        return weights - max(0, room - min(largest, room))

    @cached_property
    def passed_in(self) -> NDArray[np.int64]:
        """Bytes that layers i to j - 1 take of others, or of the caller, at [i, j]."""
        return self._passed("in")

    @cached_property
    def passed_out(self) -> NDArray[np.int64]:
        """Bytes that they give to layers behind them, or to the caller."""
        return self._passed("out")

    @cached_property
    def goes_on(self) -> NDArray[np.bool_]:
        """Whether they give anything to layers behind them."""
        return self._passed("on") > 0

    def _passed(self, which: Literal["in", "out", "on"]) -> NDArray[Any]:
        n = self.count
        starts, stops = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
        total = np.zeros((n + 1, n + 1), np.int64)
        for value in self.profile.values:
            made = (starts <= value.source) & (value.source < stops)
            if which == "in":
                used = np.zeros_like(made)
                for user in value.users:
                    used |= (starts <= user) & (user < stops)
                total += np.where(used & ~made, value.size, 0)
            else:
                last = max(value.users, default=value.source)
                leaves = np.broadcast_to(last >= stops, made.shape)
                if which == "out" and value.is_output:
                    leaves = np.ones_like(made)
                total += np.where(made & leaves, value.size, 0)
        return total
