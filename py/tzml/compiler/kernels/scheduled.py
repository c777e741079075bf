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
    `tiles` are worth trying in place of the one that was chosen; see tiles.py.
    """

    emit: Callable[[], Any]
    packers: dict[int, Packer] = field(default_factory=dict)
    tiles: tuple[int, ...] = ()
    is_template: bool = True
    """Whether the kernel was written for such functions; any other is scheduled as TVM defines it."""
