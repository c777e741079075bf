"""Where the channels of images lie.

Frameworks keep images as [N][C][H][W]. Kernels want some channels side by side, as many as a vector
register holds: [N][C / c][H][W][c], "NCHWc". Such a tensor is `Blocked` here; its last block may have
lanes beyond the last channel, which hold anything and which no other lane ever depends on. A tensor is
converted where an operator needs it otherwise, once; that is at the ends of a network, not inside.

Y. Liu et al., "Optimizing CNN Model Inference on CPUs", 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.ir.rewrite import Expr, Rewriter, constant, shape_of

ELEMENTWISE = 0
INJECTIVE = 2
REDUCTION_THEN_ELEMENTWISE = 4
OPAQUE = 8
"""TVM's OpPatternKind, by which FuseOps decides."""


@dataclass(frozen=True)
class Blocked:
    """An image tensor that lies as [N][C / block][H][W][block]; `data` has these five dimensions.

    The model knows it as (N, C, H, W), or as (N, H, W, C) if `channels_last`.
    """

    data: Expr
    channels: int
    channels_last: bool = False

    @property
    def block(self) -> int:
        """Channels that lie side by side."""
        return shape_of(self.data)[4]

    @property
    def batch(self) -> int:
        """Images."""
        return shape_of(self.data)[0]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        _, _, height, width, _ = shape_of(self.data)
        return height, width

    @property
    def is_full(self) -> bool:
        """Whether the last block has no lanes beyond the last channel."""
        return self.channels % self.block == 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The tensor's shape in the model."""
        return image_shape((self.batch, self.channels, *self.size), self.channels_last)


def image_shape(nchw: tuple[int, ...], channels_last: bool) -> tuple[int, ...]:
    """(N, C, H, W) in the model's order of axes."""
    n, c, h, w = nchw
    return (n, h, w, c) if channels_last else nchw


def nchw_shape(shape: tuple[int, ...], channels_last: bool) -> tuple[int, int, int, int]:
    """(N, C, H, W) from the model's order of axes."""
    n, *rest = shape
    h, w, c = rest if channels_last else (rest[1], rest[2], rest[0])
    return n, c, h, w


def block_for(channels: int, lanes: int) -> int:
    """How many channels of a tensor lie side by side: a vector's lanes, or fewer if there are fewer."""
    return min(lanes, 1 << max(0, channels - 1).bit_length())


class LayoutRewriter(Rewriter):
    """Rebuilds a function with tensors that may be `Blocked`.

    `values` has the plain form of the old function's variables, `blocked` the blocked one; a variable can
    have both.
    """

    def __init__(self, module: Any, lanes: int) -> None:
        super().__init__(module)
        self.lanes = lanes
        self.blocked: dict[Any, Blocked] = {}

    def translate(self, expression: Expr) -> Expr:
        if isinstance(expression, relax.Var) and expression not in self.values:
            self.values[expression] = self.to_plain(self.blocked[expression])
        return super().translate(expression)

    def as_blocked(self, expression: Expr) -> Blocked | None:
        """The blocked form of an operand of the old function, if it has one by now."""
        return self.blocked.get(expression) if isinstance(expression, relax.Var) else None

    def to_blocked(self, expression: Expr, block: int, channels_last: bool = False) -> Blocked:
        """An operand of the old function, of four dimensions, in blocks of that many channels."""
        known = self.as_blocked(expression)
        if known and known.block == block:
            return known
        plain = self.translate(expression)
        n, c, h, w = nchw_shape(shape_of(plain), channels_last)
        array = constant(plain)
        if array is not None:
            how = ("block", block, channels_last)
            data = self.derived(how, [plain], lambda: block_array(array, block, channels_last))
            result = Blocked(data, c, channels_last)
        elif block == (c if channels_last else 1):
            blocks = c // block
            result = Blocked(self.emit(relax.op.reshape(plain, (n, blocks, h, w, block))), c, channels_last)
        else:
            result = Blocked(self._block(plain, block, channels_last), c, channels_last)
        if isinstance(expression, relax.Var):
            self.blocked.setdefault(expression, result)
        return result

    def to_plain(self, tensor: Blocked) -> Expr:
        """The tensor as the model knows it."""
        _, blocks, h, w, block = shape_of(tensor.data)
        alike = h * w == 1 or (blocks == 1 if tensor.channels_last else block == 1)
        if tensor.is_full and alike:
            return self.emit(relax.op.reshape(tensor.data, tensor.shape))

        def element(*index: Expr) -> Expr:
            n, c, y, x = (index[0], index[3], index[1], index[2]) if tensor.channels_last else index
            return (n, c // block, y, x, c % block)

        def unblock(data: Any) -> Any:
            return te.compute(tensor.shape, lambda *index: data(*element(*index)), name="unblock")

        return self.call_te(unblock, tensor.data, hint="unblock", pattern=INJECTIVE)

    def _block(self, plain: Expr, block: int, channels_last: bool) -> Expr:
        n, c, h, w = nchw_shape(shape_of(plain), channels_last)

        def blocked(data: Any) -> Any:
            def element(n: Expr, outer: Expr, y: Expr, x: Expr, inner: Expr) -> Expr:
                channel = outer * block + inner
                value = data(n, y, x, channel) if channels_last else data(n, channel, y, x)
                zero = tirx.const(0, data.dtype)
                return value if c % block == 0 else tirx.if_then_else(channel < c, value, zero)

            return te.compute((n, -(-c // block), h, w, block), element, name="block")

        return self.call_te(blocked, plain, hint="block", pattern=INJECTIVE)

    def kernel(self, name: str, function: Any, *arguments: Any) -> Expr:
        """The result of a kernel that can have an epilogue: first tensors, then what `function` wants to know."""
        tensors = [a for a in arguments if isinstance(a, relax.Expr)]
        described = arguments[len(tensors) :]
        return self.call_te(
            lambda *t: function(*t, *described), *tensors, hint=name, pattern=REDUCTION_THEN_ELEMENTWISE
        )

    def call_te(self, function: Any, *arguments: Any, hint: str, pattern: int, **more: int) -> Expr:
        """Bind the result of a tensor function."""
        attributes = {"op_pattern": pattern, **more}
        call = self.bb.call_te(function, *arguments, primfunc_name_hint=hint, primfunc_attrs=attributes)
        return self.bb.emit(call)


def block_array(array: Any, block: int, channels_last: bool = False) -> Any:
    """A constant of four dimensions in blocks of channels; a size of 1 is broadcast along its axis, as in NumPy."""
    nchw = array.transpose(0, 3, 1, 2) if channels_last else array
    n, c, h, w = nchw.shape
    if c == 1:
        return nchw.reshape(n, 1, h, w, 1)
    padded = np.zeros((n, -(-c // block) * block, h, w), array.dtype)
    padded[:, :c] = nchw
    return padded.reshape(n, -1, block, h, w).transpose(0, 1, 3, 4, 2)
