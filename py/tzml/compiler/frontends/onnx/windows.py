"""ONNX's operators of windows and regions of images that TVM's importer does not know, in TE.

Where an offset or a region that is data says which pixels are read, the kernel limits the place to the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from tzml.compiler.frontends.onnx.heed import as_text
from tzml.compiler.frontends.positions import scatter_elements
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.rewrite import const, constant, dtype_of, shape_of

Expr = Any
_REAL = "float32"


def _check_real(*values: Expr) -> None:
    """Refuse what is computed less exactly than its type has it."""
    if "float64" in [dtype_of(value) for value in values if value is not None]:
        raise CompileError(f"its elements are of float64, and it is computed in {_REAL}", "cast them before it")


def _number(value: float) -> Expr:
    return tirx.const(value, _REAL)


def _inside(place: Expr, extent: int) -> Expr:
    """A place that is limited to an axis of so many elements."""
    return te.max(te.min(place, tirx.const(extent - 1, place.ty.dtype)), tirx.const(0, place.ty.dtype))


def _all(conditions: Sequence[Expr]) -> Expr:
    return tirx.all(*conditions) if len(conditions) > 1 else conditions[0]


def _bilinear(data: Any, outer: Sequence[Expr], y: Expr, x: Expr) -> Expr:
    """A pixel between four; those outside of the image are 0. NaN is a place outside."""
    sizes = [int(n) for n in data.shape[-2:]]
    total = _number(0)
    for down in (0, 1):
        for right in (0, 1):
            weight, places, there = _number(1), [], []
            for place, step, size in zip((y, x), (down, right), sizes, strict=True):
                low = te.floor(place)
                weight = weight * (place - low if step else low + _number(1) - place)
                pixel = low + _number(step)
                there.append(tirx.all(pixel >= _number(0), pixel < _number(size)))
                # limited before it is an integer, and once more as an index
                whole = tirx.Cast("int32", te.min(te.max(pixel, _number(-2)), _number(size + 1)))
                places.append(_inside(whole, size))
            pixel = data(*outer, *places).astype(_REAL)
            total = total + tirx.if_then_else(_all(there), weight * pixel, _number(0))
    return total


def _pairs(attributes: Any, name: str, rank: int, default: int) -> list[int]:
    return [int(n) for n in attributes.get(name, [default] * rank)]


def deform_conv(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Deformable convolutions v2 (arXiv:1811.11168), of images: pixels at places that are data, then a product."""
    x, weights, offset, bias, mask = (inputs[i] for i in range(5))
    if len(shape_of(x)) != 4:
        raise CompileError(f"it is of {len(shape_of(x)) - 2} dimensions; only 2 are understood")
    _check_real(x, offset, mask)
    batch, channels = shape_of(x)[:2]
    outputs, part, rows, columns = shape_of(weights)
    groups, shared = int(attributes.get("group", 1)), int(attributes.get("offset_group", 1))
    strides, dilations = (_pairs(attributes, name, 2, 1) for name in ("strides", "dilations"))
    pads = _pairs(attributes, "pads", 4, 0)
    height, width = shape_of(offset)[2:]
    if channels != part * groups or channels % shared or shape_of(offset)[1] != 2 * shared * rows * columns:
        raise CompileError("its weights and offsets do not fit its input")
    moved = builder.emit(relax.op.reshape(offset, (batch, shared, rows, columns, 2, height, width)))
    arguments = [x, moved]
    if mask is not None:
        arguments.append(builder.emit(relax.op.reshape(mask, (batch, shared, rows, columns, height, width))))

    def pixels(data: Any, away: Any, *masks: Any) -> Any:
        def element(n: Expr, c: Expr, ky: Expr, kx: Expr, i: Expr, j: Expr) -> Expr:
            group = tirx.floordiv(c, channels // shared)
            places = []
            for axis, (out, tap) in enumerate(((i, ky), (j, kx))):
                start = out * strides[axis] + tap * dilations[axis] - pads[axis]
                places.append(start.astype(_REAL) + away(n, group, ky, kx, axis, i, j).astype(_REAL))
            pixel = _bilinear(data, (n, c), *places)
            return pixel * masks[0](n, group, ky, kx, i, j).astype(_REAL) if masks else pixel

        return te.compute((batch, channels, rows, columns, height, width), element, name="pixels")

    taken = builder.emit(builder.call_te(pixels, *arguments, primfunc_name_hint="deformed"))
    taken = builder.emit(relax.op.reshape(taken, (batch, groups, part * rows * columns, height * width)))
    kind = dtype_of(x)
    rounded = taken if kind == _REAL else builder.emit(relax.op.astype(taken, kind))
    matrix = builder.emit(relax.op.reshape(weights, (groups, outputs // groups, part * rows * columns)))
    result = builder.emit(relax.op.matmul(matrix, rounded))
    result = builder.emit(relax.op.reshape(result, (batch, outputs, height, width)))
    return result if bias is None else relax.op.add(result, relax.op.reshape(bias, (1, outputs, 1, 1)))


def roi_align(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Mask R-CNN's regions (arXiv:1703.06870). How many samples a region has must not depend on it."""
    x, regions, numbers = inputs[0], inputs[1], inputs[2]
    _check_real(x, regions)
    samples = int(attributes.get("sampling_ratio", 0))
    if samples <= 0:
        raise CompileError("its attribute sampling_ratio must be 1 at least", "export the layer with it")
    mode = as_text(attributes.get("mode", "avg"))
    # before there was a choice, nothing was shifted
    shifted = as_text(attributes.get("coordinate_transformation_mode", "half_pixel")) == "half_pixel"
    size = int(attributes.get("output_height", 1)), int(attributes.get("output_width", 1))
    scale = float(attributes.get("spatial_scale", 1.0))
    images, channels, *extents = shape_of(x)

    def place(region: Any, r: Expr, axis: int, out: Expr, sample: Expr) -> Expr:
        half = _number(0.5 if shifted else 0)
        begin, end = (region(r, 1 - axis + k).astype(_REAL) * _number(scale) - half for k in (0, 2))
        length = end - begin if shifted else te.max(end - begin, _number(1))
        part = length / _number(size[axis])
        return begin + out.astype(_REAL) * part + (sample.astype(_REAL) + _number(0.5)) * part / _number(samples)

    def sampled(data: Any, region: Any, image: Any) -> Any:
        steps = [te.reduce_axis((0, samples), name) for name in ("row", "column")]

        def corners(r: Expr, c: Expr, i: Expr, j: Expr) -> list[Expr]:
            number = _inside(image(r), images)
            terms: list[Expr] = [_number(1)] * 4
            indices: list[list[Expr]] = [[], [], [], []]
            there = []
            for axis, (out, step) in enumerate(zip((i, j), steps, strict=True)):
                at, extent = place(region, r, axis, out, step), extents[axis]
                there.append(tirx.all(at >= _number(-1), at <= _number(extent)))
                at = te.min(te.max(at, _number(0)), _number(extent - 1))
                low = te.min(te.floor(at), _number(extent - 1))
                whole = _inside(tirx.Cast("int32", low), extent)
                away = at - low
                for k in range(4):
                    is_next = (k >> 1 if axis == 0 else k) & 1
                    terms[k] = terms[k] * (away if is_next else _number(1) - away)
                    indices[k].append(_inside(whole + is_next, extent))
            found = []
            for term, index in zip(terms, indices, strict=True):
                pixel = data(number, c, *index).astype(_REAL)
                found.append(tirx.if_then_else(_all(there), term * pixel, _number(0)))
            return found

        def element(*at: Any) -> Any:
            one, two, three, four = corners(*at)
            if mode == "avg":
                return te.sum(one + two + three + four, axis=steps)
            return te.max(te.max(te.max(one, two), te.max(three, four)), axis=steps)

        shape = (int(region.shape[0]), channels, *size)
        total = te.compute(shape, element, name="samples")
        count = _number(samples * samples if mode == "avg" else 1)
        return te.compute(shape, lambda *at: (total(*at) / count).astype(data.dtype), name="regions")

    if mode not in ("avg", "max"):
        raise CompileError(f"its attribute mode is {mode}; avg and max are understood")
    return builder.call_te(sampled, x, regions, numbers, primfunc_name_hint="roi_align")


def col2im(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """Each pixel is the sum of what the windows over it have."""
    x = inputs[0]
    image, block = (constant(inputs[i]) for i in (1, 2))
    if image is None or block is None:
        raise CompileError("its inputs 2 and 3 must be known when compiling", "make them constants")
    sizes, kernel = ([int(n) for n in value] for value in (image, block))
    rank = len(sizes)
    strides, dilations = (_pairs(attributes, name, rank, 1) for name in ("strides", "dilations"))
    pads = _pairs(attributes, "pads", 2 * rank, 0)
    counts = [
        (n + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i, n in enumerate(sizes)
    ]
    batch, rows, columns = shape_of(x)
    if rows % math.prod(kernel) or columns != math.prod(counts) or min(counts) < 1:
        raise CompileError(f"its input of {rows} x {columns} is not of windows of {kernel} of an image of {sizes}")
    channels = rows // math.prod(kernel)

    def summed(data: Any) -> Any:
        taps = [te.reduce_axis((0, k), f"tap{i}") for i, k in enumerate(kernel)]
        zero = tirx.const(0, data.dtype)

        def element(n: Expr, c: Expr, *at: Expr) -> Expr:
            row, column, there = c, tirx.const(0, "int32"), []
            for i, (p, tap) in enumerate(zip(at, taps, strict=True)):
                row = row * kernel[i] + tap
                way = p + pads[i] - tap * dilations[i]
                window = tirx.floordiv(way, strides[i])
                there += [tirx.floormod(way, strides[i]) == 0, window >= 0, window < counts[i]]
                column = column * counts[i] + _inside(window, counts[i])
            return te.sum(tirx.if_then_else(_all(there), data(n, row, column), zero), axis=taps)

        return te.compute((batch, channels, *sizes), element, name="image")

    return builder.call_te(summed, x, primfunc_name_hint="col2im")


def max_unpool(builder: Any, inputs: Any, attributes: Any) -> Expr:
    """The indices are those of a MaxPool's second output, among all elements before it."""
    x, indices = inputs[0], inputs[1]
    shape = shape_of(x)
    rank = len(shape) - 2
    kernel = [int(n) for n in attributes.get("kernel_shape")]
    strides, pads = _pairs(attributes, "strides", rank, 1), _pairs(attributes, "pads", 2 * rank, 0)
    whole = [(n - 1) * strides[i] - pads[i] - pads[rank + i] + kernel[i] for i, n in enumerate(shape[2:])]
    whole = [*shape[:2], *whole]
    places, updates = (builder.emit(relax.op.reshape(value, (math.prod(shape),))) for value in (indices, x))
    zeros = const(np.zeros(math.prod(whole), dtype_of(x)))
    result = builder.emit(scatter_elements(builder, zeros, places, updates, 0, "none"))
    result = builder.emit(relax.op.reshape(result, whole))
    wanted = None if inputs[2] is None else constant(inputs[2])
    if wanted is None or list(wanted) == whole:
        return result
    after = [int(n) - m for n, m in zip(wanted, whole, strict=True)]
    if min(after) < 0:
        raise CompileError(f"its output would be {list(map(int, wanted))}, less than the {whole} that it makes")
    return relax.op.nn.pad(result, [k for n in after for k in (0, n)])


def max_pool(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """With the indices of what is the largest; without them, TVM's importer is right."""
    if attributes["tvm_custom"]["num_outputs"] < 2:
        return None
    x, shape = inputs[0], shape_of(inputs[0])
    rank = len(shape) - 2
    kernel = [int(n) for n in attributes.get("kernel_shape")]
    strides, dilations = (_pairs(attributes, name, rank, 1) for name in ("strides", "dilations"))
    pads = _pairs(attributes, "pads", 2 * rank, 0)
    by_columns = bool(attributes.get("storage_order", 0))
    if attributes.get("ceil_mode", 0) or as_text(attributes.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID"):
        raise CompileError("with indices, its attributes ceil_mode and auto_pad are not understood")
    counts = [
        (n + pads[i] + pads[rank + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1
        for i, n in enumerate(shape[2:])
    ]

    def pooled(data: Any) -> Any:
        def window(at: Sequence[Expr], taps: Sequence[Expr]) -> tuple[list[Expr], Expr]:
            places, there = [], []
            for i, tap in enumerate(taps):
                place = at[2 + i] * strides[i] + tap * dilations[i] - pads[i]
                there += [place >= 0, place < shape[2 + i]]
                places.append(_inside(place, shape[2 + i]))
            return places, _all(there)

        def axes(name: str) -> list[Any]:
            return [te.reduce_axis((0, k), f"{name}{i}") for i, k in enumerate(kernel)]

        first, second = axes("tap"), axes("place")
        lowest, none = te.min_value(data.dtype), tirx.const(math.prod(shape), "int64")

        def value(*at: Any) -> Any:
            places, there = window(at, first)
            return te.max(tirx.if_then_else(there, data(*at[:2], *places), lowest), axis=first)

        best = te.compute((*shape[:2], *counts), value, name="largest")

        def index(*at: Any) -> Any:
            places, there = window(at, second)
            order = list(enumerate(places))
            flat = at[0].astype("int64") * shape[1] + at[1].astype("int64")
            for i, place in reversed(order) if by_columns else order:
                flat = flat * shape[2 + i] + place.astype("int64")
            found = tirx.all(there, data(*at[:2], *places) == best(*at))
            return te.min(tirx.Select(found, flat, none), axis=second)

        return best, te.compute((*shape[:2], *counts), index, name="indices")

    both = builder.emit(builder.call_te(pooled, x, primfunc_name_hint="max_pool"))
    return relax.Tuple([builder.emit(relax.TupleGetItem(both, i)) for i in range(2)])


def conv_transpose(builder: Any, inputs: Any, attributes: Any) -> None:
    """Of an output's shape become paddings; the rest is TVM's."""
    if "output_shape" not in attributes:
        return
    x, weights = shape_of(inputs[0]), shape_of(inputs[1])
    rank = len(x) - 2
    strides, dilations = (_pairs(attributes, name, rank, 1) for name in ("strides", "dilations"))
    more = _pairs(attributes, "output_padding", rank, 0)
    upper = as_text(attributes.get("auto_pad", "NOTSET")) == "SAME_UPPER"
    before, after = [], []
    for i, wanted in enumerate(attributes.get("output_shape")[-rank:]):
        whole = strides[i] * (x[2 + i] - 1) + more[i] + (weights[2 + i] - 1) * dilations[i] + 1
        total = max(0, whole - wanted)
        more[i] += max(0, wanted - whole)
        small, large = total // 2, total - total // 2
        before.append(small if upper else large)
        after.append(large if upper else small)
        if more[i] >= max(strides[i], dilations[i]):
            raise CompileError(f"its attribute output_shape has {wanted}, where {whole} are made")
    attributes.update(pads=[*before, *after], output_padding=more, auto_pad=b"NOTSET")


def space_to_depth(builder: Any, inputs: Any, attributes: Any) -> Expr | None:
    """With the channels in the order columns, rows, depth; the other is TVM's."""
    if as_text(attributes.get("mode", "DCR")) != "CRD":
        return None
    n, c, h, w = shape_of(inputs[0])
    size = int(attributes.get("blocksize"))
    parts = builder.emit(relax.op.reshape(inputs[0], (n, c, h // size, size, w // size, size)))
    moved = builder.emit(relax.op.permute_dims(parts, [0, 1, 3, 5, 2, 4]))
    return relax.op.reshape(moved, (n, c * size * size, h // size, w // size))


WINDOW_OPERATORS: dict[str, Callable[..., Expr | None]] = {
    "Col2Im": col2im,
    "ConvTranspose": conv_transpose,
    "DeformConv": deform_conv,
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "RoiAlign": roi_align,
    "SpaceToDepth": space_to_depth,
}
