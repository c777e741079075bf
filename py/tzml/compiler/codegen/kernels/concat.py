"""Images behind one another along the channels, copied: where they could not be computed in their places."""

from __future__ import annotations

from typing import Any

from tvm import te, tirx

from tzml.compiler.codegen.kernels.fused import Fused, annotate
from tzml.compiler.codegen.kernels.isa import Isa
from tzml.compiler.codegen.kernels.scheduled import Scheduled
from tzml.compiler.codegen.kernels.tir import T, shape


def define(*parts: Any) -> Any:
    """The operator in TE; each part is (N, C / c, H, W, c)."""
    n, _, h, w, block = parts[0].shape
    counts = [int(part.shape[1]) for part in parts]

    def element(n: Any, index: Any, y: Any, x: Any, lane: Any) -> Any:
        result, first = None, sum(counts)
        for part, count in zip(reversed(parts), reversed(counts), strict=True):
            first -= count
            value = part[n, index - first, y, x, lane]
            result = value if result is None else tirx.if_then_else(index < first + count, value, result)
        return result

    return te.compute(
        (n, sum(counts), h, w, block), element, name="concat", attrs=annotate("concat", counts=counts)
    )


def schedule(fused: Fused, isa: Isa) -> Scheduled:
    """A kernel that copies part by part. An image that comes twice is one parameter."""
    counts = fused.geometry["counts"]
    parts = fused.operands

    def body() -> None:
        first = 0
        for part, count in zip(parts, counts, strict=True):
            n, _, h, w, block = shape(part)
            with (
                T.serial(n) as image,
                T.serial(count) as index,
                T.serial(h) as y,
                T.serial(w) as x,
                T.vectorized(block) as lane,
            ):
                value = tirx.BufferLoad(part, [image, index, y, x, lane])
                fused.store([image, index + first, y, x, lane], value)
            first += count

    return Scheduled(lambda: fused.emit(body))
