"""How much memory a layer may take, and where it is cut."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bytes that a layer's weights, and its input and output together, may take; None: any number."""

    weights: int | None = None
    activations: int | None = None


NO_LIMITS = Limits()


def starts_of_parts(count: int, size: int, limit: int, grain: int) -> list[int]:
    """Where `count` outputs whose weights take `size` bytes are cut so that each part takes at most `limit`.

    The first index of each part, a multiple of `grain`, and the end of the last.
    """
    most = limit * count // size // grain * grain or grain  # outputs a part
    parts = math.ceil(count / most)
    each = math.ceil(count / parts / grain) * grain
    return [*range(0, count, each), count]
