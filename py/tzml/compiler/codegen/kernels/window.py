"""A window that slides over an image: what convolution and pooling have in common."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Pair = tuple[int, int]


@dataclass(frozen=True)
class Axis:
    """One direction of a window: output `o` reads inputs o · stride + tap · dilation - before, 0 ≤ tap < taps."""

    size: int
    out_size: int
    taps: int
    stride: int
    dilation: int
    before: int

    def position(self, output: Any, tap: Any) -> Any:
        """The input that a tap of an output reads, numbers or expressions; outside of [0, size) it is padding."""
        return output * self.stride + tap * self.dilation - self.before

    def inside(self, output: int, tap: int) -> bool:
        return 0 <= self.position(output, tap) < self.size

    def is_inside(self, first: int, count: int) -> bool:
        """Whether no tap of `count` outputs from `first` on reads padding."""
        last = self.position(first + count - 1, self.taps - 1)
        return self.position(first, 0) >= 0 and last < self.size

    def padded_outputs(self) -> int:
        """How many outputs read padding."""
        return sum(not self.is_inside(output, 1) for output in range(self.out_size))


@dataclass(frozen=True)
class Window:
    """Pairs are (rows, columns); padding is what lies (above, left of) the image."""

    size: Pair
    out_size: Pair
    kernel: Pair
    strides: Pair
    dilation: Pair
    before: Pair

    @property
    def rows(self) -> Axis:
        return self._axis(0)

    @property
    def columns(self) -> Axis:
        return self._axis(1)

    @property
    def is_padded(self) -> bool:
        """Whether an output reads padding."""
        return any(axis.padded_outputs() for axis in (self.rows, self.columns))

    def taps(self) -> Iterator[Pair]:
        for row in range(self.kernel[0]):
            for column in range(self.kernel[1]):
                yield row, column

    def _axis(self, i: int) -> Axis:
        return Axis(
            self.size[i], self.out_size[i], self.kernel[i], self.strides[i], self.dilation[i], self.before[i]
        )
