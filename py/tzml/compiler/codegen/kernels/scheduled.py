"""What becomes of a function once a kernel is written for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import tvm
from numpy.typing import NDArray

Packer = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class Scheduled:
    """A kernel that can be had, and how constants that are its operands (by position) must be rearranged for it.

    `emit` makes the PrimFunc, which takes a while and need not be done where machine code is at hand.
    `tiles` gives those worth trying in place of the one that was chosen, if there are any; see tiles.py.
    `ordering` changes the target for this kernel: which processor LLVM orders instructions for.
    """

    emit: Callable[[], Any]
    packers: dict[int, Packer] = field(default_factory=dict)
    tiles: Callable[[], tuple[int, ...]] = tuple
    is_template: bool = True
    """Whether the kernel was written for such functions; any other is scheduled as TVM defines it."""
    ordering: dict[str, Any] = field(default_factory=dict)

    def target(self, target: Any) -> Any:
        """The target that this kernel is compiled for, when all others are compiled for `target`."""
        return tvm.target.Target({**target.export(), **self.ordering}) if self.ordering else target
