"""More TFLite files of one operator: other shapes, options and types, and operators that few models have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tflite
from tflite_case import SAME, VALID, Case, Const, State, bools, case, floats, ints, positive, whole

X = floats(2, 5, 6, 3)
TYPES = {
    "float32": 0,
    "float16": 1,
    "int32": 2,
    "uint8": 3,
    "int64": 4,
    "bool": 6,
    "int16": 7,
    "int8": 9,
    "uint32": 15,
}
RELU, RELU_N1_TO_1, RELU6, TANH = 1, 2, 3, 4


def more_cases() -> Iterator[tuple[str, Case]]:
    """Every case, by its name."""
    for made in (_elementwise, _types, _reductions, _movements, _indices, _layers, _quantize, _recurrent, _seldom):
        yield from ((name, case) for name, case in made() if not _lacks_a_scale(case))


_WITH_SCALES = {
    "ADD",
    "SUB",
    "MUL",
    "DIV",
    "SUM",
    "MEAN",
    "REDUCE_PROD",
    "RELU",
    "RELU6",
    "EQUAL",
    "NOT_EQUAL",
    "GREATER",
    "LESS_EQUAL",
    "ABS",
    "SQUARED_DIFFERENCE",
    "EXP",
}
"""Operators whose kernels end the process for small integers without a scale, or compute what means nothing."""


def _lacks_a_scale(case: Case) -> bool:
    kinds = {str(x.dtype) for x in case.inputs}
    return case.operator in _WITH_SCALES and bool(kinds & {"int8", "uint8", "int16"})


def _options(operator: str) -> str:
    special = {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum"}
    name = special.get(operator, "".join(part.capitalize() for part in operator.split("_")))
    return f"{name}Options" if hasattr(tflite.BuiltinOptions, f"{name}Options") else ""


def _elementwise() -> Iterator[tuple[str, Case]]:
    unary = (
        "ABS",
        "CEIL",
        "COS",
        "ELU",
        "EXP",
        "FLOOR",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOGISTIC",
        "NEG",
        "RELU",
        "ROUND",
        "SIN",
        "SOFTMAX",
        "SQUARE",
        "TANH",
        "LOG_SOFTMAX",
        "L2_NORMALIZATION",
    )
    for name in unary:
        for shape in ((7,), (3, 4), (2, 1, 3, 2, 4)):
            about: dict[str, Any] = {"Beta": 1.0} if name == "SOFTMAX" else {}
            about |= {"Alpha": 0.1} if name == "LEAKY_RELU" else {}
            yield f"{name}-{len(shape)}d", case(name, floats(*shape), options=_options(name), **about)
    yield "TANH-large", case("TANH", floats(3, 9) * 20)
    yield "LOGISTIC-large", case("LOGISTIC", floats(3, 9) * 40)
    yield "EXP-large", case("EXP", floats(3, 9) * 25)
    yield "SOFTMAX-large", case("SOFTMAX", floats(3, 9) * 40, options="SoftmaxOptions", Beta=1.0)
    yield "ROUND-halves", case("ROUND", np.arange(-4, 4, 0.5, dtype=np.float32))
    pairs = {
        "scalar": (X, Const(np.array(0.7, np.float32))),
        "left scalar": (Const(np.array(0.7, np.float32)), np.abs(X) + 1),
        "one": (X, positive(1)),
        "both": (floats(2, 1, 6, 1), positive(5, 1, 3)),
        "lower": (floats(3), positive(2, 5, 6, 3)),
        "5d": (floats(2, 1, 3, 2, 4), positive(1, 5, 3, 1, 4)),
        "6d": (floats(2, 1, 3, 2, 1, 2), positive(2, 3, 1, 2, 3, 1)),
        "channel": (X, Const(positive(3))),
        "same input": (X, X + 1),
    }
    for name in (
        "ADD",
        "SUB",
        "MUL",
        "DIV",
        "MAXIMUM",
        "MINIMUM",
        "POW",
        "SQUARED_DIFFERENCE",
        "FLOOR_DIV",
        "FLOOR_MOD",
    ):
        for how, (a, b) in pairs.items():
            one = np.abs(a) + 0.1 if name == "POW" and isinstance(a, np.ndarray) else a
            yield f"{name}-{how}", case(name, one, b, options=_options(name))
    for name in ("ADD", "SUB", "MUL", "DIV"):
        yield f"{name}-n1", case(name, X, positive(3), options=_options(name), FusedActivationFunction=RELU_N1_TO_1)
        yield f"{name}-tanh", case(name, X, positive(3), options=_options(name), FusedActivationFunction=TANH)
    for name in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"):
        for how in ("scalar", "both", "5d"):
            a, b = pairs[how]
            yield f"{name}-{how}", case(name, a, b, kind="bool", options=_options(name))
    for name in ("LOGICAL_AND", "LOGICAL_OR"):
        yield f"{name}-both", case(name, bools(2, 1, 4), ~bools(3, 1), kind="bool")
    wrong = np.array([np.nan, 1, -np.inf, np.inf, -0.0, 0, 3], np.float32)
    for name in (
        "RELU",
        "RELU6",
        "ABS",
        "NEG",
        "SIGN",
        "CEIL",
        "FLOOR",
        "ROUND",
        "TANH",
        "LOGISTIC",
        "SQUARE",
    ):
        yield f"{name}-limits", case(name, wrong[1:])
    yield "SELECT-rank1", case("SELECT", bools(4), floats(4, 3), positive(4, 3), options="SelectOptions")
    yield (
        "SELECT_V2-both",
        case(
            "SELECT_V2", bools(2, 1, 4), floats(3, 1), Const(np.array(0.5, np.float32)), options="SelectV2Options"
        ),
    )
    yield (
        "SELECT_V2-int32",
        case("SELECT_V2", bools(2, 3), whole(2, 3), whole(3) - 9, kind="int32", options="SelectV2Options"),
    )
    yield "WHERE-select", case("WHERE", bools(4, 5), kind="int64", options="WhereOptions")
    for slopes in ((3,), (1, 1, 3), (5, 6, 3), (1, 1, 1), (2, 5, 6, 3)):
        yield f"PRELU-{len(slopes)}-{slopes[0]}{slopes[-1]}", case("PRELU", X, Const(floats(*slopes)))
    yield "PRELU-input", case("PRELU", X, floats(1, 1, 3))
    yield "ADD_N-one", case("ADD_N", X, X + 1, options="AddNOptions")
    yield "ADD_N-int32", case("ADD_N", whole(3, 4), whole(3, 4), whole(3, 4), kind="int32", options="AddNOptions")
    yield "ATAN2-quadrants", case("ATAN2", floats(9), floats(9)[::-1].copy(), options="")


def _types() -> Iterator[tuple[str, Case]]:
    for kind in ("int64", "int32", "int16", "int8", "uint8", "uint32"):
        a, b = whole(3, 4, kind=kind), whole(4, kind=kind)
        for name in (
            "ADD",
            "SUB",
            "MUL",
            "DIV",
            "MAXIMUM",
            "MINIMUM",
            "FLOOR_DIV",
            "FLOOR_MOD",
            "POW",
            "SQUARED_DIFFERENCE",
            "BITWISE_XOR",
            "RIGHT_SHIFT",
        ):
            if kind != "int32":
                yield f"{name}-{kind}", case(name, a, b, kind=kind, options=_options(name))
        signed = a - 5 if kind[0] == "i" else a
        for name in ("FLOOR_DIV", "FLOOR_MOD", "RIGHT_SHIFT"):
            yield f"{name}-{kind}-signs", case(name, signed, b, kind=kind, options=_options(name))
        for name in ("EQUAL", "NOT_EQUAL", "GREATER", "LESS_EQUAL"):
            if kind != "int32":
                yield f"{name}-{kind}", case(name, a, b, kind="bool", options=_options(name))
        for name in ("ABS", "NEG", "SQUARE", "SIGN", "ZEROS_LIKE", "RELU", "CEIL", "FLOOR", "ROUND", "EXP"):
            yield f"{name}-{kind}", case(name, signed, kind=kind)
        for name in ("SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "MEAN"):
            if kind != "int32":
                yield f"{name}-{kind}", case(name, signed, ints(1), kind=kind, options="ReducerOptions")
        yield f"MEAN-{kind}-all", case("MEAN", signed, ints(0, 1), kind=kind, options="ReducerOptions")
        for name in ("ArgMax", "ArgMin"):
            yield (
                f"{name}-{kind}",
                case(f"ARG_{name[3:].upper()}", a, ints(1), kind="int32", options=f"{name}Options", OutputType=2),
            )
        yield f"CUMSUM-{kind}", case("CUMSUM", a, ints(1), kind=kind, options="CumsumOptions")
        yield f"TOPK_V2-{kind}", case("TOPK_V2", a, ints(2), kind=f"{kind} int32", results=2)
        movements: dict[str, tuple[Any, ...]] = {
            "RESHAPE": (a, ints(2, 6)),
            "TRANSPOSE": (a, ints(1, 0)),
            "EXPAND_DIMS": (a, ints(0)),
            "TILE": (a, ints(2, 1)),
            "REVERSE_V2": (a, ints(1)),
            "SLICE": (a, ints(1, 0), ints(2, 3)),
            "GATHER": (a, np.array([2, 0], np.int32)),
            "PAD": (a, Const(np.array([[1, 0], [0, 2]], np.int32))),
            "BROADCAST_TO": (a, ints(2, 3, 4)),
            "MIRROR_PAD": (a, Const(np.array([[1, 0], [0, 2]], np.int32))),
            "PACK": (a, a + 1),
            "PADV2": (a, Const(np.array([[1, 0], [0, 2]], np.int32)), Const(np.array([3], kind))),
            "GATHER_ND": (a, np.array([[2], [0]], np.int32)),
            "CONCATENATION": (a, a + 1),
            "SQUEEZE": (a[None],),
            "STRIDED_SLICE": (a, ints(0, 1), ints(3, 4), ints(1, 2)),
            "SELECT_V2": (bools(3, 4), a, a + 1),
            "SCATTER_ND": (np.array([[2], [0]], np.int32), a[:2], ints(4, 4)),
        }
        for name, operands in movements.items():
            about: dict[str, Any] = {"ValuesCount": 2} if name == "PACK" else {}
            about |= {"NewShape": [2, 6]} if name == "RESHAPE" else {}
            yield f"{name}-{kind}-moved", case(name, *operands, kind=kind, options=_movement_options(name), **about)
    for source in ("int64", "int32", "int16", "int8", "uint8", "bool", "float32", "float16", "uint32"):
        for result in ("int64", "int32", "int16", "int8", "uint8", "bool", "float32", "float16", "uint32"):
            numbers = (
                (floats(3, 4) * 3).astype(source) if source[0] == "f" else whole(3, 4, kind="int32").astype(source)
            )
            if source[0] == "f" and result[0] == "u":
                numbers = np.abs(numbers)
            yield (
                f"CAST-{source}-{result}",
                case(
                    "CAST",
                    numbers,
                    kind=result,
                    options="CastOptions",
                    InDataType=TYPES[source],
                    OutDataType=TYPES[result],
                ),
            )
    for source, result in (
        ("float32", "int32"),
        ("int32", "float32"),
        ("int32", "uint32"),
        ("int16", "float16"),
        ("int8", "uint8"),
    ):
        given = floats(3, 4) if source == "float32" else whole(3, 4, kind=source)
        yield f"BITCAST-{source}-{result}", case("BITCAST", given, kind=result, options="BitcastOptions")


def _movement_options(name: str) -> str:
    special = {
        "PADV2": "PadV2Options",
        "REVERSE_V2": "ReverseV2Options",
        "GATHER_ND": "GatherNdOptions",
        "SELECT_V2": "SelectV2Options",
        "SCATTER_ND": "ScatterNdOptions",
    }
    return special.get(name, _options(name))


def _reductions() -> Iterator[tuple[str, Case]]:
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for about, source, axes, keep in (
            ("negative", X, (-1,), False),
            ("twice", X, (1, -3), True),
            ("first", X, (0,), False),
            ("1d", floats(9), (0,), False),
            ("5d", floats(2, 3, 2, 2, 3), (1, 3), True),
            ("two", X, (0, 3), False),
            ("none", X, (), True),
        ):
            yield f"{name}-{about}", case(name, source, ints(*axes), options="ReducerOptions", KeepDims=keep)
        yield (
            f"{name}-scalar axis",
            case(name, X, Const(np.array(2, np.int32)), options="ReducerOptions", KeepDims=False),
        )
    for name in ("REDUCE_ANY", "REDUCE_ALL"):
        for keep in (True, False):
            yield (
                f"{name}-two-{keep}",
                case(name, bools(3, 4, 2), ints(0, -1), kind="bool", options="ReducerOptions", KeepDims=keep),
            )
    for name in ("ArgMax", "ArgMin"):
        operator, about = f"ARG_{name[3:].upper()}", f"{name}Options"
        yield f"{name}-negative", case(operator, X, ints(-1), kind="int32", options=about, OutputType=2)
        yield f"{name}-long", case(operator, X, ints(1), kind="int64", options=about, OutputType=4)
        yield f"{name}-1d", case(operator, floats(9), ints(0), kind="int32", options=about, OutputType=2)
        equal = np.round(X / 3).astype(np.float32)
        yield f"{name}-equal", case(operator, equal, ints(2), kind="int32", options=about, OutputType=2)
    yield (
        "CUMSUM-negative",
        case("CUMSUM", X, Const(np.array(-1, np.int32)), options="CumsumOptions", Exclusive=1, Reverse=1),
    )


def _movements() -> Iterator[tuple[str, Case]]:
    yield "RESHAPE-open", case("RESHAPE", X, ints(-1, 3), options="ReshapeOptions", NewShape=[-1, 3])
    yield "RESHAPE-option", case("RESHAPE", X, options="ReshapeOptions", NewShape=[60, 3])
    yield (
        "RESHAPE-scalar",
        case("RESHAPE", floats(1), Const(np.zeros(0, np.int32)), options="ReshapeOptions", NewShape=[]),
    )
    yield "RESHAPE-same", case("RESHAPE", X, ints(2, 5, 6, 3), options="ReshapeOptions", NewShape=[2, 5, 6, 3])
    for order in ((1, 0), (2, 0, 1), (0, 3, 1, 2), (4, 0, 3, 1, 2), (5, 3, 0, 1, 4, 2)):
        shape = (2, 3, 4, 2, 3, 2)[: len(order)]
        yield (
            f"TRANSPOSE-{len(order)}d",
            case("TRANSPOSE", floats(*shape), ints(*order), options="TransposeOptions"),
        )
    for axis in (0, -1, 4):
        yield f"EXPAND_DIMS-{axis}", case("EXPAND_DIMS", X, ints(axis), options="ExpandDimsOptions")
    yield "SQUEEZE-all", case("SQUEEZE", floats(1, 3, 1, 4), options="SqueezeOptions")
    yield "SQUEEZE-negative", case("SQUEEZE", floats(2, 3, 1), options="SqueezeOptions", SqueezeDims=[-1])
    yield (
        "CONCATENATION-5d",
        case(
            "CONCATENATION", floats(2, 1, 3, 2, 2), positive(2, 2, 3, 2, 2), options="ConcatenationOptions", Axis=1
        ),
    )
    yield (
        "CONCATENATION-known",
        case("CONCATENATION", X, Const(positive(2, 5, 6, 1)), options="ConcatenationOptions", Axis=3),
    )
    yield (
        "CONCATENATION-relu",
        case("CONCATENATION", X, -X, options="ConcatenationOptions", Axis=3, FusedActivationFunction=RELU),
    )
    yield "CONCATENATION-one", case("CONCATENATION", X, options="ConcatenationOptions", Axis=0)
    yield (
        "SPLIT-negative",
        case("SPLIT", Const(np.array(-1, np.int32)), X, results=3, options="SplitOptions", NumSplits=3),
    )
    yield "SPLIT-1", case("SPLIT", Const(np.array(0, np.int32)), X, results=1, options="SplitOptions", NumSplits=1)
    yield (
        "SPLIT_V-open",
        case(
            "SPLIT_V",
            X,
            ints(2, -1, 1),
            Const(np.array(2, np.int32)),
            results=3,
            options="SplitVOptions",
            NumSplits=3,
        ),
    )
    for axis in (0, -1, 4):
        yield f"PACK-{axis}", case("PACK", X, -X, X, options="PackOptions", ValuesCount=3, Axis=axis)
        if axis < 4:
            yield (
                f"UNPACK-{axis}",
                case("UNPACK", X, results=X.shape[axis], options="UnpackOptions", Num=X.shape[axis], Axis=axis),
            )
    for name, about in (("PAD", "PadOptions"), ("PADV2", "PadV2Options"), ("MIRROR_PAD", "MirrorPadOptions")):
        for shape, kind in (((4,), np.int32), ((3, 4), np.int64), ((2, 3, 2, 2, 3), np.int32)):
            pads = Const(np.array([[1, 1]] * len(shape), kind))
            value = (Const(np.array([-2.5], np.float32)),) if name == "PADV2" else ()
            yield f"{name}-{len(shape)}d", case(name, floats(*shape), pads, *value, options=about)
    yield (
        "SLICE-5d",
        case("SLICE", floats(2, 3, 2, 4, 3), ints(0, 1, 0, 2, 0), ints(-1, 2, 1, 2, -1), options="SliceOptions"),
    )
    yield (
        "SLICE-long",
        case(
            "SLICE",
            X,
            Const(np.array([0, 1, 0, 0], np.int64)),
            Const(np.array([2, 2, -1, 1], np.int64)),
            options="SliceOptions",
        ),
    )
    strides: dict[str, tuple[Any, ...]] = {
        "negative": ((1, 4, 5, 2), (0, 0, -7, 0), (-1, -2, -1, -1), {}),
        "from the end": ((0, -3, -2, 0), (2, -1, 6, 3), (1, 1, 1, 1), {}),
        "ellipsis": ((0, 0, 1), (1, 0, 3), (1, 1, 1), {"EllipsisMask": 2}),
        "new axis": ((0, 0, 1), (2, 0, 4), (1, 1, 1), {"NewAxisMask": 2}),
        "shrink": ((1, 2), (2, 3), (1, 1), {"ShrinkAxisMask": 3}),
        "shrink from the end": ((0, -1), (2, 0), (1, 1), {"ShrinkAxisMask": 2}),
        "all": ((0, 0, 0, 0), (0, 0, 0, 0), (1, 1, 2, 1), {"BeginMask": 15, "EndMask": 15}),
        "backwards": ((0, 0, 0, 0), (0, 0, 0, 0), (1, -1, 1, -2), {"BeginMask": 15, "EndMask": 15}),
        "beyond": ((0, 0, 0, 0), (9, 9, 9, 9), (1, 2, 1, 1), {}),
        "offset": ((0, 1, 2, 0), (2, 3, 2, 3), (1, 1, 1, 1), {"Offset": True}),
    }
    for name, (begin, end, step, masks) in strides.items():
        yield (
            f"STRIDED_SLICE-{name}",
            case("STRIDED_SLICE", X, ints(*begin), ints(*end), ints(*step), options="StridedSliceOptions", **masks),
        )
    yield "TILE-5d", case("TILE", floats(1, 2, 1, 3, 2), ints(2, 1, 3, 1, 2), options="TileOptions")
    yield "TILE-long", case("TILE", floats(2, 3), Const(np.array([2, 2], np.int64)), options="TileOptions")
    yield "REVERSE_V2-two", case("REVERSE_V2", X, ints(1, 2), options="ReverseV2Options")
    yield "REVERSE_V2-negative", case("REVERSE_V2", X, ints(-1), options="ReverseV2Options")
    yield "BROADCAST_TO-5d", case("BROADCAST_TO", floats(2, 1, 3), ints(2, 3, 2, 4, 3))
    for block in (2, 3):
        yield (
            f"SPACE_TO_DEPTH-{block}",
            case("SPACE_TO_DEPTH", floats(2, 6, 12, 2), options="SpaceToDepthOptions", BlockSize=block),
        )
        yield (
            f"DEPTH_TO_SPACE-{block}",
            case("DEPTH_TO_SPACE", floats(2, 3, 2, 36), options="DepthToSpaceOptions", BlockSize=block),
        )
    zero, more = (Const(np.array(p, np.int32)) for p in ([[0, 0], [0, 0]], [[1, 1], [2, 0]]))
    yield (
        "SPACE_TO_BATCH_ND-2",
        case("SPACE_TO_BATCH_ND", floats(2, 4, 6, 2), ints(2, 2), more, options="SpaceToBatchNDOptions"),
    )
    yield (
        "SPACE_TO_BATCH_ND-3d",
        case(
            "SPACE_TO_BATCH_ND",
            floats(2, 6, 2),
            ints(2),
            Const(np.array([[0, 2]], np.int32)),
            options="SpaceToBatchNDOptions",
        ),
    )
    yield (
        "BATCH_TO_SPACE_ND-crop",
        case("BATCH_TO_SPACE_ND", floats(8, 3, 4, 2), ints(2, 2), more, options="BatchToSpaceNDOptions"),
    )
    yield (
        "BATCH_TO_SPACE_ND-3d",
        case(
            "BATCH_TO_SPACE_ND",
            floats(4, 6, 2),
            ints(2),
            Const(np.array([[0, 2]], np.int32)),
            options="BatchToSpaceNDOptions",
        ),
    )
    yield (
        "BATCH_TO_SPACE_ND-plain",
        case("BATCH_TO_SPACE_ND", floats(4, 3, 4, 2), ints(2, 2), zero, options="BatchToSpaceNDOptions"),
    )
    yield (
        "DYNAMIC_UPDATE_SLICE-given",
        case("DYNAMIC_UPDATE_SLICE", X, positive(1, 2, 3, 3), np.array([1, 2, 3, 0], np.int32)),
    )
    yield (
        "DYNAMIC_UPDATE_SLICE-beyond",
        case("DYNAMIC_UPDATE_SLICE", X, positive(1, 2, 3, 3), np.array([1, 9, -4, 0], np.int32)),
    )
    yield "SHAPE", case("SHAPE", X, kind="int32", options="ShapeOptions", OutType=2)
    yield "RANK", case("RANK", X, kind="int32", options="RankOptions")
    yield "FILL", case("FILL", ints(2, 3), np.array(1.5, np.float32), options="FillOptions")
    yield (
        "RANGE",
        case(
            "RANGE",
            Const(np.array(0, np.int32)),
            Const(np.array(9, np.int32)),
            Const(np.array(2, np.int32)),
            kind="int32",
            options="RangeOptions",
        ),
    )
    yield "BROADCAST_ARGS", case("BROADCAST_ARGS", ints(2, 1), ints(1, 3), kind="int32")


def _indices() -> Iterator[tuple[str, Case]]:
    places = np.array([[1, 0], [0, 1]], np.int32)
    yield "GATHER-2d", case("GATHER", X, places, options="GatherOptions", Axis=1)
    yield "GATHER-negative", case("GATHER", X, places[0], options="GatherOptions", Axis=-1)
    yield "GATHER-long", case("GATHER", X, places[0].astype(np.int64), options="GatherOptions", Axis=2)
    yield "GATHER-batches", case("GATHER", X, places, options="GatherOptions", Axis=1, BatchDims=1)
    yield "GATHER-scalar", case("GATHER", X, np.array(1, np.int32), options="GatherOptions", Axis=0)
    yield "GATHER_ND-known", case("GATHER_ND", X, Const(places), options="GatherNdOptions")
    yield "GATHER_ND-long", case("GATHER_ND", X, np.array([[[1, 0, 2, 1]]], np.int64), options="GatherNdOptions")
    yield (
        "GATHER_ND-one",
        case("GATHER_ND", floats(5, 2), np.array([[4], [1], [4]], np.int32), options="GatherNdOptions"),
    )
    yield "EMBEDDING_LOOKUP-3d", case("EMBEDDING_LOOKUP", np.array([3, 0, 1], np.int32), Const(floats(4, 2, 3)))
    for kind in ("float32", "int32", "int64", "int8", "bool"):
        on, off = np.array(1, kind), np.array(0, kind)
        yield (
            f"ONE_HOT-{kind}",
            case(
                "ONE_HOT",
                np.array([[1, 3], [0, 9]], np.int32),
                ints(4, scalar=True),
                Const(on),
                Const(off),
                kind=kind,
                options="OneHotOptions",
                Axis=0,
            ),
        )
    yield (
        "ONE_HOT-long",
        case(
            "ONE_HOT",
            np.array([1, -1], np.int64),
            ints(3, scalar=True),
            Const(np.array(2, np.float32)),
            Const(np.array(0, np.float32)),
            options="OneHotOptions",
            Axis=-1,
        ),
    )
    for shape, count in (((7,), 7), ((2, 3, 8), 1)):
        yield (
            f"TOPK_V2-{count}",
            case("TOPK_V2", floats(*shape), ints(count, scalar=True), kind="float32 int32", results=2),
        )
    equal = np.array([[1, 3, 3, 1, 3]], np.float32)
    yield "TOPK_V2-equal", case("TOPK_V2", equal, ints(4, scalar=True), kind="float32 int32", results=2)
    yield (
        "SCATTER_ND-twice",
        case(
            "SCATTER_ND", np.array([[1], [3], [1]], np.int32), floats(3, 4), ints(5, 4), options="ScatterNdOptions"
        ),
    )
    yield (
        "SCATTER_ND-2d",
        case("SCATTER_ND", Const(places), floats(2, 3), ints(2, 2, 3), options="ScatterNdOptions"),
    )
    yield (
        "REVERSE_SEQUENCE-2",
        case(
            "REVERSE_SEQUENCE",
            X,
            np.array([1, 0, 3, 5, 2, 4], np.int32),
            options="ReverseSequenceOptions",
            SeqDim=1,
            BatchDim=2,
        ),
    )
    yield (
        "REVERSE_SEQUENCE-long",
        case(
            "REVERSE_SEQUENCE",
            X,
            np.array([2, 6], np.int64),
            options="ReverseSequenceOptions",
            SeqDim=2,
            BatchDim=0,
        ),
    )
    yield (
        "SEGMENT_SUM",
        case("SEGMENT_SUM", floats(5, 3), Const(np.array([0, 0, 1, 2, 2], np.int32)), options="SegmentSumOptions"),
    )
    for name in ("PROD", "MAX", "SUM", "MIN"):
        yield (
            f"UNSORTED_SEGMENT_{name}",
            case(
                f"UNSORTED_SEGMENT_{name}",
                floats(5, 3),
                np.array([2, 0, 2, 1, 0], np.int32),
                ints(4, scalar=True),
                options=f"UnsortedSegment{name.capitalize()}Options",
            ),
        )
    yield (
        "SPARSE_TO_DENSE",
        case(
            "SPARSE_TO_DENSE",
            Const(np.array([[0, 1], [2, 3]], np.int32)),
            ints(3, 4),
            floats(2),
            Const(np.array(0.5, np.float32)),
            options="SparseToDenseOptions",
        ),
    )
    yield (
        "HASHTABLE_LOOKUP",
        case(
            "HASHTABLE_LOOKUP",
            np.array([1, 9], np.int32),
            Const(np.array([1, 5], np.int32)),
            Const(floats(2, 3)),
            kind="float32 uint8",
            results=2,
        ),
    )
    yield (
        "BUCKETIZE",
        case(
            "BUCKETIZE", X, kind="int32", options="BucketizeOptions", Boundaries=np.array([-1, 0, 1.5], np.float32)
        ),
    )
    boxes = Const(np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 2, 1, 3]], np.float32))
    about = (ints(2, scalar=True), Const(np.array(0.5, np.float32)), Const(np.array(0.1, np.float32)))
    scores = np.array([0.9, 0.75, 0.6], np.float32)
    yield (
        "NON_MAX_SUPPRESSION_V4",
        case("NON_MAX_SUPPRESSION_V4", boxes, scores, *about, kind="int32 int32", results=2),
    )
    yield (
        "NON_MAX_SUPPRESSION_V5",
        case(
            "NON_MAX_SUPPRESSION_V5",
            boxes,
            scores,
            *about,
            Const(np.array(0.0, np.float32)),
            kind="int32 float32 int32",
            results=3,
        ),
    )


def _layers() -> Iterator[tuple[str, Case]]:
    one: dict[str, Any] = {"StrideH": 1, "StrideW": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    image = floats(1, 9, 7, 4)
    windows: dict[str, tuple[int, int, dict[str, Any]]] = {
        "1x1": (1, 1, {}),
        "1x3": (1, 3, {"StrideW": 2}),
        "5x2": (5, 2, {"Padding": VALID}),
        "strides": (3, 3, {"StrideH": 3, "StrideW": 2}),
        "dilated": (3, 2, {"DilationHFactor": 2, "DilationWFactor": 3}),
        "n1": (3, 3, {"FusedActivationFunction": RELU_N1_TO_1}),
        "relu6": (2, 2, {"FusedActivationFunction": RELU6}),
        "tanh": (3, 3, {"FusedActivationFunction": TANH}),
        "strided 1x1": (1, 1, {"StrideH": 2, "StrideW": 2}),
        "large": (9, 7, {"Padding": VALID}),
        "even": (4, 4, {"StrideH": 2, "StrideW": 2}),
    }
    for name, (high, wide, about) in windows.items():
        about = {"Padding": SAME, **one, **about}
        yield (
            f"CONV_2D-{name}",
            case(
                "CONV_2D",
                image,
                Const(floats(6, high, wide, 4) / 3),
                Const(floats(6)),
                options="Conv2DOptions",
                **about,
            ),
        )
        for times in (1, 3):
            if "tanh" in name and times == 3:
                continue
            yield (
                f"DEPTHWISE_CONV_2D-{name}-{times}",
                case(
                    "DEPTHWISE_CONV_2D",
                    image,
                    Const(floats(1, high, wide, 4 * times)),
                    Const(floats(4 * times)),
                    options="DepthwiseConv2DOptions",
                    DepthMultiplier=times,
                    **about,
                ),
            )
    plain: dict[str, Any] = {"Padding": SAME, **one}
    yield (
        "CONV_2D-groups",
        case("CONV_2D", image, Const(floats(6, 3, 3, 2)), Const(floats(6)), options="Conv2DOptions", **plain),
    )
    yield "CONV_2D-no bias", case("CONV_2D", image, Const(floats(6, 3, 3, 4)), options="Conv2DOptions", **plain)
    yield (
        "CONV_2D-left out",
        case("CONV_2D", image, Const(floats(6, 3, 3, 4)), None, options="Conv2DOptions", **plain),
    )
    yield (
        "CONV_2D-given weights",
        case("CONV_2D", image, floats(6, 3, 3, 4), floats(6), options="Conv2DOptions", **plain),
    )
    yield (
        "DEPTHWISE_CONV_2D-one channel",
        case(
            "DEPTHWISE_CONV_2D",
            image[..., :1].copy(),
            Const(floats(1, 3, 3, 5)),
            Const(floats(5)),
            options="DepthwiseConv2DOptions",
            DepthMultiplier=5,
            **plain,
        ),
    )
    for padding in (SAME, VALID):
        for high, wide, stride in ((3, 3, 1), (2, 2, 2), (4, 4, 2), (3, 2, 3), (1, 1, 2)):
            rows, columns = (
                (4 * stride, 5 * stride) if padding == SAME else ((4 - 1) * stride + high, (5 - 1) * stride + wide)
            )
            for bias in (False, True):
                if padding == VALID and stride > high:
                    continue
                more = (Const(floats(3)),) if bias else ()
                yield (
                    f"TRANSPOSE_CONV-{padding}-{high}{wide}-{stride}-{bias:d}",
                    case(
                        "TRANSPOSE_CONV",
                        ints(1, rows, columns, 3),
                        Const(floats(3, high, wide, 2)),
                        floats(1, 4, 5, 2),
                        *more,
                        options="TransposeConvOptions",
                        Padding=padding,
                        StrideH=stride,
                        StrideW=stride,
                    ),
                )
    yield (
        "TRANSPOSE_CONV-relu",
        case(
            "TRANSPOSE_CONV",
            ints(1, 8, 10, 3),
            Const(floats(3, 3, 3, 2)),
            floats(1, 4, 5, 2),
            Const(floats(3)),
            options="TransposeConvOptions",
            Padding=SAME,
            StrideH=2,
            StrideW=2,
            FusedActivationFunction=RELU,
        ),
    )
    for activation in (0, RELU_N1_TO_1, RELU6, TANH):
        yield (
            f"FULLY_CONNECTED-activation-{activation}",
            case(
                "FULLY_CONNECTED",
                floats(4, 6),
                Const(floats(5, 6)),
                Const(floats(5)),
                options="FullyConnectedOptions",
                FusedActivationFunction=activation,
            ),
        )
    yield (
        "FULLY_CONNECTED-image",
        case(
            "FULLY_CONNECTED",
            floats(2, 3, 2, 2),
            Const(floats(5, 12)),
            Const(floats(5)),
            options="FullyConnectedOptions",
        ),
    )
    yield (
        "FULLY_CONNECTED-given",
        case("FULLY_CONNECTED", floats(4, 6), floats(5, 6), floats(5), options="FullyConnectedOptions"),
    )
    yield (
        "FULLY_CONNECTED-1d",
        case("FULLY_CONNECTED", floats(6), Const(floats(5, 6)), Const(floats(5)), options="FullyConnectedOptions"),
    )
    for name, one_shape, other in (
        ("2d", (3, 4), (4, 5)),
        ("4d", (2, 3, 4, 5), (2, 3, 5, 2)),
        ("broadcast", (2, 1, 4, 5), (3, 5, 2)),
        ("lower", (4, 5), (2, 3, 5, 2)),
    ):
        yield (
            f"BATCH_MATMUL-{name}",
            case("BATCH_MATMUL", floats(*one_shape), positive(*other), options="BatchMatMulOptions"),
        )
    yield (
        "BATCH_MATMUL-known",
        case("BATCH_MATMUL", floats(2, 3, 4), Const(positive(2, 4, 5)), options="BatchMatMulOptions"),
    )
    yield (
        "BATCH_MATMUL-known-turned",
        case("BATCH_MATMUL", floats(2, 3, 4), Const(positive(2, 5, 4)), options="BatchMatMulOptions", AdjY=True),
    )
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        for how, high, wide, stride, padding, activation in (
            ("large", 9, 7, 1, VALID, 0),
            ("apart", 2, 2, 3, SAME, 0),
            ("relu6", 3, 3, 2, SAME, RELU6),
            ("n1", 2, 3, 1, VALID, RELU_N1_TO_1),
            ("one", 1, 1, 1, SAME, 0),
            ("wide", 5, 5, 1, SAME, RELU),
        ):
            yield (
                f"{name}-{how}",
                case(
                    name,
                    image,
                    options="Pool2DOptions",
                    Padding=padding,
                    StrideH=stride,
                    StrideW=stride,
                    FilterHeight=high,
                    FilterWidth=wide,
                    FusedActivationFunction=activation,
                ),
            )
    for name, options in (
        ("RESIZE_BILINEAR", "ResizeBilinearOptions"),
        ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"),
    ):
        for size in ((1, 1), (5, 6), (20, 18), (2, 13), (1, 6)):
            for align, half in ((False, False), (True, False), (False, True)):
                yield (
                    f"{name}-{size[0]}x{size[1]}-{align:d}{half:d}",
                    case(name, X, ints(*size), options=options, AlignCorners=align, HalfPixelCenters=half),
                )
    for radius, offset, alpha, beta in ((1, 2.0, 1.0, 0.5), (5, 1.0, 0.1, 0.75), (0, 1.0, 0.5, 1.0)):
        yield (
            f"LOCAL_RESPONSE_NORMALIZATION-{radius}",
            case(
                "LOCAL_RESPONSE_NORMALIZATION",
                X,
                options="LocalResponseNormalizationOptions",
                Radius=radius,
                Bias=offset,
                Alpha=alpha,
                Beta=beta,
            ),
        )
    cube: dict[str, Any] = {"DilationDFactor": 1, "DilationHFactor": 1, "DilationWFactor": 1}
    yield (
        "CONV_3D-same",
        case(
            "CONV_3D",
            floats(1, 4, 5, 6, 2),
            Const(floats(2, 3, 3, 2, 4)),
            Const(floats(4)),
            options="Conv3DOptions",
            Padding=SAME,
            StrideD=2,
            StrideH=1,
            StrideW=2,
            FusedActivationFunction=RELU,
            **cube,
        ),
    )
    yield (
        "CONV_3D-no bias",
        case(
            "CONV_3D",
            floats(1, 4, 5, 6, 2),
            Const(floats(1, 3, 3, 2, 4)),
            options="Conv3DOptions",
            Padding=VALID,
            StrideD=1,
            StrideH=1,
            StrideW=1,
            **cube,
        ),
    )
    yield (
        "CONV_3D_TRANSPOSE",
        case(
            "CONV_3D_TRANSPOSE",
            ints(1, 4, 6, 6, 2),
            Const(floats(2, 3, 3, 2, 4)),
            floats(1, 2, 3, 3, 4),
            options="Conv3DOptions",
            Padding=SAME,
            StrideD=2,
            StrideH=2,
            StrideW=2,
            **cube,
        ),
    )


def _quantize() -> Iterator[tuple[str, Case]]:
    for kind, scale, zero in (("int8", 0.03, 5), ("uint8", 0.03, 120), ("int16", 0.0002, 0)):
        yield (
            f"QUANTIZE-{kind}",
            case("QUANTIZE", X * 1.5, kind=kind, scale=scale, zero=zero, options="QuantizeOptions"),
        )
        numbers = np.random.default_rng(7).integers(-100 if kind[0] == "i" else 0, 101, (3, 4, 5)).astype(kind)
        yield (
            f"DEQUANTIZE-{kind}",
            case("DEQUANTIZE", State(numbers, scale=scale, zero=zero, is_input=True), options="DequantizeOptions"),
        )
        for other, s, z in (("int8", 0.05, -3), ("uint8", 0.02, 100), ("int16", 0.001, 0), ("int32", 0.0001, 0)):
            yield (
                f"QUANTIZE-{kind}-{other}",
                case(
                    "QUANTIZE",
                    State(numbers, scale=scale, zero=zero, is_input=True),
                    kind=other,
                    scale=s,
                    zero=z,
                    options="QuantizeOptions",
                ),
            )
    yield "DEQUANTIZE-float16", case("DEQUANTIZE", floats(3, 4).astype(np.float16), options="DequantizeOptions")
    numbers = np.random.default_rng(8).integers(-127, 128, (3, 4)).astype(np.int8)
    yield (
        "DEQUANTIZE-channels",
        case(
            "DEQUANTIZE", State(numbers, scale=(0.1, 0.2, 0.3), axis=0, is_input=True), options="DequantizeOptions"
        ),
    )
    for low, high, bits, narrow in ((-6, 6, 8, False), (0, 2.55, 8, True), (-1, 3, 4, False)):
        yield (
            f"FAKE_QUANT-{bits}-{narrow:d}-{low}",
            case("FAKE_QUANT", X, options="FakeQuantOptions", Min=low, Max=high, NumBits=bits, NarrowRange=narrow),
        )


def _recurrent() -> Iterator[tuple[str, Case]]:
    batch, size, units, steps = 2, 3, 4, 5
    for activation in (0, RELU, TANH):
        weights = (Const(floats(units, size)), Const(floats(units, units) / 4), Const(floats(units)))
        yield (
            f"RNN-{activation}",
            case(
                "RNN",
                floats(batch, size),
                *weights,
                State(np.zeros((batch, units), np.float32)),
                options="RNNOptions",
                FusedActivationFunction=activation,
            ),
        )
        for major in (False, True):
            x = floats(steps, batch, size) if major else floats(batch, steps, size)
            yield (
                f"UNIDIRECTIONAL_SEQUENCE_RNN-{activation}-{major:d}",
                case(
                    "UNIDIRECTIONAL_SEQUENCE_RNN",
                    x,
                    *weights,
                    State(np.zeros((batch, units), np.float32)),
                    options="SequenceRNNOptions",
                    FusedActivationFunction=activation,
                    TimeMajor=major,
                ),
            )
    weights = (Const(floats(units, size)), Const(floats(units, units) / 4), Const(floats(units)))
    for merged in (False, True):
        yield (
            f"BIDIRECTIONAL_SEQUENCE_RNN-{merged:d}",
            case(
                "BIDIRECTIONAL_SEQUENCE_RNN",
                floats(batch, steps, size),
                *weights,
                _state(batch, units),
                *(Const(-w.data) for w in weights),
                _state(batch, units),
                None,
                None,
                None,
                results=1 if merged else 2,
                options="BidirectionalSequenceRNNOptions",
                FusedActivationFunction=TANH,
                MergeOutputs=merged,
            ),
        )
    for rank in (1, 2):
        for activation in (0, RELU):
            filters = units * rank
            yield (
                f"SVDF-{rank}-{activation}",
                case(
                    "SVDF",
                    floats(batch, size),
                    Const(floats(filters, size)),
                    Const(floats(filters, 6)),
                    Const(floats(units)),
                    _state(batch, filters * 6),
                    options="SVDFOptions",
                    Rank=rank,
                    FusedActivationFunction=activation,
                ),
            )
    for about in ("plain", "peephole", "coupled", "projection", "clip", "layer norm", "time"):
        out = 2 if about == "projection" else units
        states = (_state(batch, out), _state(batch, units))
        more: dict[str, Any] = {"CellClip": 0.3} if about == "clip" else {}
        weights_of, norms = _lstm_weights(about, size, units, out)
        x = floats(batch, steps, size)
        if about != "time":
            yield (
                f"LSTM-{about}",
                case(
                    "LSTM",
                    x[:, 0].copy(),
                    *weights_of,
                    *states,
                    *norms,
                    options="LSTMOptions",
                    FusedActivationFunction=TANH,
                    **more,
                ),
            )
        yield (
            f"UNIDIRECTIONAL_SEQUENCE_LSTM-{about}",
            case(
                "UNIDIRECTIONAL_SEQUENCE_LSTM",
                x.swapaxes(0, 1).copy() if about == "time" else x,
                *weights_of,
                *states,
                *norms,
                options="UnidirectionalSequenceLSTMOptions",
                FusedActivationFunction=TANH,
                TimeMajor=about == "time",
                **more,
            ),
        )
        if not norms:
            yield (
                f"BIDIRECTIONAL_SEQUENCE_LSTM-{about}",
                case(
                    "BIDIRECTIONAL_SEQUENCE_LSTM",
                    x.swapaxes(0, 1).copy() if about == "time" else x,
                    *weights_of,
                    *_lstm_weights(about, size, units, out, seed=12)[0],
                    *states,
                    *states,
                    *[None] * 9,
                    results=2,
                    options="BidirectionalSequenceLSTMOptions",
                    FusedActivationFunction=TANH,
                    TimeMajor=about == "time",
                    **more,
                ),
            )


def _state(*shape: int) -> State:
    return State(np.zeros(shape, np.float32))


def _lstm_weights(about: str, size: int, units: int, out: int, seed: int = 11) -> tuple[list[Any], list[Any]]:
    """Those of the input, the answer, the cell, the biases and the projection; and of the normalisation."""
    random = np.random.default_rng(seed)

    def drawn(*shape: int) -> Const:
        return Const(random.uniform(-1, 1, shape).astype(np.float32))

    has_input, peephole, projection = about != "coupled", about == "peephole", about == "projection"
    operands: list[Any] = [drawn(units, size) if has_input or i else None for i in range(4)]
    operands += [drawn(units, out) if has_input or i else None for i in range(4)]
    operands += [drawn(units) if peephole else None for _ in range(3)]
    operands += [drawn(units) if has_input or i else None for i in range(4)]
    operands += [drawn(out, units), drawn(out)] if projection else [None, None]
    return operands, [drawn(units) for _ in range(4)] if about == "layer norm" else []


def _sizes(*numbers: tuple[int, ...]) -> list[Const]:
    return [Const(np.array(n, np.int64)) for n in numbers]


def _seldom() -> Iterator[tuple[str, Case]]:
    yield (
        "DILATE",
        case("DILATE", floats(3, 4), ints(2, 3), Const(np.array(0.5, np.float32)), options="DilateOptions"),
    )
    for number in (1, 2, 3, 4):
        yield (
            f"REDUCE_WINDOW-{number}",
            case(
                "REDUCE_WINDOW",
                floats(5, 6),
                Const(np.array(0 if number == 1 else 1, np.float32)),
                *_sizes((2, 2), (1, 2), (1, 1)),
                options="ReduceWindowOptions",
                ReduceFunction=number,
            ),
        )
    yield "RFFT2D", case("RFFT2D", floats(4, 8), ints(4, 8), kind="complex64", options="Rfft2dOptions")
    yield "RANDOM_UNIFORM", case("RANDOM_UNIFORM", ints(2, 3), options="RandomOptions", Seed=1)
    yield "RANDOM_STANDARD_NORMAL", case("RANDOM_STANDARD_NORMAL", ints(2, 3), options="RandomOptions", Seed=1)
    yield (
        "MULTINOMIAL",
        case("MULTINOMIAL", floats(2, 5), ints(3, scalar=True), kind="int64", options="RandomOptions", Seed=1),
    )
    for name in ("ADD", "AND", "MAXIMUM", "MINIMUM", "MULTIPLY", "SHIFT_LEFT"):
        is_integer = name in ("AND", "SHIFT_LEFT")
        a, b = (whole(3, 4), whole(3, 4) % 3) if is_integer else (positive(3, 4), floats(3, 4))
        yield f"STABLEHLO_{name}", case(f"STABLEHLO_{name}", a, b, kind="int32" if is_integer else "float32")
