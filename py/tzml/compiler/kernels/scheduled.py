"""What becomes of a function once a kernel is written for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

Packer = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Scheduled:
    """A kernel that can be had, and how constants that are its operands (by position) must be rearranged for it.

    `emit` makes the PrimFunc, which takes a while and need not be done where machine code is at hand.
    `tune` changes the target for this kernel: which processor LLVM orders instructions for.
    """

    emit: Callable[[], Any]
    packers: dict[int, Packer] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
