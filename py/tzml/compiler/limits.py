"""How much memory a layer may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bytes that a layer's weights, and its input and output together, may take; None: any number."""

    weights: int | None = None
    activations: int | None = None


NO_LIMITS = Limits()
