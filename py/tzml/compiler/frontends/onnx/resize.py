"""ONNX's Resize and Upsample: sums of few neighbours along one axis after another.

What TVM's operator for images understands is left to it, since the compiler has kernels for that. For the rest, the
neighbours and their weights are computed here, as onnx.reference does; they depend on sizes and attributes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tvm import relax, te, tirx

from tzml.compiler.frontends.onnx.heed import as_text
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, constant, dtype_of, shape_of

Expr = Any
Real = NDArray[np.float64]


class _How(NamedTuple):
    """The attributes of a Resize."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    antialias: bool
    exclude_outside: bool
    outside: float


class _Axis(NamedTuple):
    """What becomes of an axis of `size` elements; `begin` and `end` are the part of it, for tf_crop_and_resize."""

    axis: int
    size: int
    new: int
    scale: float
    begin: float
    end: float

    @property
    def is_left(self) -> bool:
        return self.new == self.size and abs(self.scale - 1) < 1e-9 and (self.begin, self.end) == (0, 1)


def resize(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Roi, scales and sizes, which are constants, are those of `axes`, or of all."""
    x = inputs[0]
    roi, scales, sizes = (_numbers(inputs, i) for i in (1, 2, 3))
    how = _How(
        as_text(attributes.get("mode", "nearest")),
        as_text(attributes.get("coordinate_transformation_mode", "half_pixel")),
        as_text(attributes.get("nearest_mode", "round_prefer_floor")),
        float(attributes.get("cubic_coeff_a", -0.75)),
        bool(attributes.get("antialias", 0)),
        bool(attributes.get("exclude_outside", 0)),
        float(attributes.get("extrapolation_value", 0.0)),
    )
    policy = as_text(attributes.get("keep_aspect_ratio_policy", "stretch"))
    axes = [int(a) % len(shape_of(x)) for a in attributes.get("axes", range(len(shape_of(x))))]
    if how.mode == "nearest" and how.antialias:
        raise CompileError("its attribute antialias is 1, and its mode nearest")
    if how.coordinates not in _PLACES:
        raise CompileError(f"its attribute coordinate_transformation_mode is {how.coordinates}, which is not known")
    return _resized(builder, x, _settled(x, axes, roi, scales, sizes, policy, how), how)


def upsample(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """What there was before Resize. The scales are an attribute in old opsets."""
    x = inputs[0]
    scales = np.asarray(attributes.get("scales"), float) if "scales" in attributes else _numbers(inputs, 1)
    mode = as_text(attributes.get("mode", "nearest"))
    how = _How({"bilinear": "linear"}.get(mode, mode), "asymmetric", "floor", -0.75, False, False, 0.0)
    return _resized(builder, x, _settled(x, list(range(len(shape_of(x)))), None, scales, None, "stretch", how), how)


def _numbers(inputs: Any, position: int) -> Real | None:
    value = inputs[position]
    if value is None or 0 in shape_of(value):
        return None
    known = constant(value)
    if known is None:
        raise CompileError(f"its input {position + 1} must be known when compiling", "make it a constant")
    return np.asarray(known, np.float64).ravel()


def _settled(
    x: Expr, axes: list[int], roi: Real | None, scales: Real | None, sizes: Real | None, policy: str, how: _How
) -> list[_Axis]:
    """How long each axis becomes, and by which scale. Raises CompileError for what does not fit."""
    old = [shape_of(x)[axis] for axis in axes]
    given = scales if sizes is None else sizes
    if given is None or (scales is not None and sizes is not None) or len(given) != len(axes):
        raise CompileError(f"it needs either a scale or a size for each of {len(axes)} axes")
    if how.coordinates != "tf_crop_and_resize":
        roi = None
    elif roi is None or len(roi) != 2 * len(axes):
        raise CompileError(f"its input roi must have {2 * len(axes)} numbers")
    if sizes is not None:
        new = [int(n) for n in sizes]
        scales = np.array([n / m for n, m in zip(new, old, strict=True)])
        if policy != "stretch":
            scales = np.full(len(axes), scales.min() if policy == "not_larger" else scales.max())
            new = [int(scale * n + 0.5) for scale, n in zip(scales, old, strict=True)]
    else:
        assert scales is not None
        # as in float32, which the scales are of
        new = [int(np.floor(np.float32(scale) * np.float32(n))) for scale, n in zip(scales, old, strict=True)]
    if min(new) < 1 or not np.isfinite(scales).all() or scales.min() <= 0:
        raise CompileError(f"it would have {new} elements along the axes {axes}")
    begins, ends = (np.zeros(len(axes)), np.ones(len(axes))) if roi is None else np.split(roi, 2)
    return [_Axis(*about) for about in zip(axes, old, new, map(float, scales), begins, ends, strict=True)]


def _resized(builder: Any, x: Expr, axes: list[_Axis], how: _How) -> Expr:
    changed = [axis for axis in axes if not axis.is_left]
    if not changed:
        return x
    if _is_of_an_image(x, changed, how):
        return _image(x, changed, how)
    kind = dtype_of(x)
    if how.mode != "nearest" and "float" not in kind:
        raise CompileError(f"its elements are of type {kind}; only its mode nearest is understood for them")
    value = x
    if how.mode != "nearest" and kind == "float16":
        value = builder.emit(relax.op.astype(value, "float32"))
    for axis in changed:
        value = builder.emit(_along(builder, value, axis, how))
    return relax.op.astype(value, kind) if dtype_of(value) != kind else value


_OF_FLOAT32 = ("float32", "float16", "int8", "uint8", "int16", "uint16")
"""Types whose numbers float32 has, all of them."""


def _is_of_an_image(x: Expr, axes: list[_Axis], how: _How) -> bool:
    """Whether TVM's operator computes the same: it makes its own scale of the sizes."""
    plain = how.mode in ("nearest", "linear", "cubic") and not how.antialias
    plain = plain and how.coordinates not in ("half_pixel_symmetric", "tf_crop_and_resize")
    even = all(abs(a.size * a.scale - a.new) <= 1e-6 * a.new for a in axes)
    # TVM's is of float32, whatever the elements are
    exact = dtype_of(x) in _OF_FLOAT32
    return exact and plain and even and len(shape_of(x)) == 4 and all(a.axis in (2, 3) for a in axes)


def _image(x: Expr, axes: list[_Axis], how: _How) -> Expr:
    new = {a.axis: a.new for a in axes}
    sizes = [new.get(i, shape_of(x)[i]) for i in (2, 3)]
    return relax.op.image.resize2d(
        x,
        size=relax.ShapeExpr(sizes),
        roi=[0.0] * 4,
        layout="NCHW",
        method={"nearest": "nearest_neighbor"}.get(how.mode, how.mode),
        coordinate_transformation_mode=how.coordinates,
        rounding_method=how.nearest,
        cubic_alpha=how.cubic,
        cubic_exclude=int(how.exclude_outside),
    )


# Where the elements of an axis lie among those of the old one


def _align_corners(axis: _Axis, y: Real) -> Real:
    last = axis.size * axis.scale - 1
    return y * (axis.size - 1) / last if last else np.zeros_like(y)


def _tf_crop(axis: _Axis, y: Real) -> Real:
    last, part = axis.size * axis.scale - 1, (axis.end - axis.begin) * (axis.size - 1)
    inside = y * part / last if last else np.full_like(y, part / 2)
    return inside + axis.begin * (axis.size - 1)


def _half_pixel(axis: _Axis, y: Real) -> Real:
    return (y + 0.5) / axis.scale - 0.5


def _pytorch_half_pixel(axis: _Axis, y: Real) -> Real:
    return np.full_like(y, -0.5) if axis.size * axis.scale == 1 else _half_pixel(axis, y)


def _symmetric(axis: _Axis, y: Real) -> Real:
    return axis.size / 2 * (1 - axis.new / (axis.size * axis.scale)) + _half_pixel(axis, y)


_PLACES: dict[str, Callable[[_Axis, Real], Real]] = {
    "align_corners": _align_corners,
    "asymmetric": lambda axis, y: y / axis.scale,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_crop_and_resize": _tf_crop,
}


def _linear(distance: Real, _: _How) -> Real:
    return np.clip(1 - np.abs(distance), 0, 1)


def _cubic(distance: Real, how: _How) -> Real:
    """Keys' kernel (doi:10.1109/TASSP.1981.1163711)."""
    a, x = how.cubic, np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


_KERNELS: dict[str, tuple[int, Callable[[Real, _How], Real]]] = {"linear": (1, _linear), "cubic": (2, _cubic)}
"""How far each reaches, and the weight at a distance."""


def _nearest(x: Real, rounding: str) -> Real:
    if rounding not in _ROUNDED:
        raise CompileError(f"its attribute nearest_mode is {rounding}, which is not known")
    return _ROUNDED[rounding](x)


_ROUNDED: dict[str, Callable[[Real], Real]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _along(builder: Any, x: Expr, axis: _Axis, how: _How) -> Expr:
    place = _PLACES[how.coordinates](axis, np.arange(axis.new, dtype=np.float64))
    weights = None
    if how.mode == "nearest":
        index = _nearest(place, how.nearest)[:, None]
    elif how.mode in _KERNELS:
        reach, kernel = _KERNELS[how.mode]
        # downwards, the kernel is as wide as a new element
        scale = min(axis.scale, 1.0) if how.antialias else 1.0
        first = int(np.floor(-reach / scale)) + 1
        index = np.ceil(place)[:, None] - 1 + np.arange(first, 2 - first)
        weights = kernel((index - place[:, None]) * scale, how)
        if how.exclude_outside:
            weights = np.where((index < 0) | (index >= axis.size), 0, weights)
        if how.exclude_outside or how.antialias:
            total = weights.sum(1, keepdims=True)
            weights = weights / np.where(total == 0, 1, total)
    else:
        raise CompileError(f"its attribute mode is {how.mode}, which is not known")
    index = np.clip(index, 0, axis.size - 1)
    beyond = (place < 0) | (place > axis.size - 1) if how.coordinates == "tf_crop_and_resize" else np.zeros(1, bool)
    if weights is None:
        result = relax.op.take(x, const(index[:, 0].astype(np.int64)), axis=axis.axis, mode="clip")
    else:
        arguments = (const(index.astype(np.int32)), const(weights.astype(dtype_of(x))))
        result = builder.call_te(_sums, x, *arguments, axis.axis, primfunc_name_hint="resize")
    if not beyond.any():
        return result
    mask = const(beyond.reshape([-1 if i == axis.axis else 1 for i in range(len(shape_of(x)))]))
    return relax.op.where(mask, const(np.asarray(how.outside, dtype_of(x))), builder.emit(result))


def _sums(x: Any, index: Any, weights: Any, axis: int) -> Any:
    """Each element is a sum along the axis of `x`, at the places that a row of `index` has."""
    step = te.reduce_axis((0, int(index.shape[1])), "neighbour")
    last, nothing = tirx.const(int(x.shape[axis]) - 1, "int32"), tirx.const(0, "int32")

    def element(*at: Any) -> Any:
        place = te.max(te.min(index(at[axis], step), last), nothing)
        return te.sum(x(*at[:axis], place, *at[axis + 1 :]) * weights(at[axis], step), axis=step)

    shape = [index.shape[0] if i == axis else n for i, n in enumerate(x.shape)]
    return te.compute(shape, element, name="resized")


RESIZE: dict[str, Callable[..., Expr]] = {"Resize": resize, "Upsample": upsample}
