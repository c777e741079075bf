"""TFLite files of one operator, and their outcomes: as LiteRT answers, or refused with the operator's name.

data/tflite_answers.npz has LiteRT's answers, and tflite_cases.toml why operators are refused; all others are right.
In the environment of make test-frontends, which has LiteRT, both are written again by

    build/frontends/bin/python tests/compiler/tflite_cases.py
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from tflite_case import SAME, VALID, Array, Case, Const
from tflite_case import bools as _bools
from tflite_case import floats as _floats
from tflite_case import ints as _ints
from tflite_case import positive as _positive
from tflite_case import whole as _whole
from tflite_models import Tensor
from tflite_more_cases import more_cases
from tflite_quantized_cases import dequantized, quantized_cases

RECORD = Path(__file__).with_suffix(".toml")
ANSWERS = Path(__file__).parent / "data" / "tflite_answers.npz"


SHAPE = (2, 5, 6, 3)
X = _floats(*SHAPE)


def all_cases() -> dict[str, Case]:
    """Every case by its name: those below, others of tflite_more_cases.py, and what they are when quantized."""
    found = {**dict(cases()), **dict(more_cases())}
    return {**found, **dict(quantized_cases(dict(cases()), recorded_answers()))}


def cases() -> Iterator[tuple[str, Case]]:
    """Every operator of TFLite that has a fixed shape, some of them with several options and types."""
    yield from _elementwise()
    yield from _reductions()
    yield from _movements()
    yield from _indices()
    yield from _layers()


def _case(
    operator: str, *operands: Any, out: Any = SHAPE, kind: str = "float32", options: str = "", **values: Any
) -> Case:
    shapes = out if isinstance(out, list) else [out]
    kinds = kind.split()
    results = tuple(Tensor(s, kinds[min(i, len(kinds) - 1)]) for i, s in enumerate(shapes))
    return Case(operator, operands, results, options, values)


def _camel(operator: str) -> str:
    return "".join(part.capitalize() for part in operator.split("_"))


def _elementwise() -> Iterator[tuple[str, Case]]:
    for name in (
        "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "HARD_SWISH", "LOGISTIC", "NEG", "RELU", "RELU6",
        "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "SIGN", "SIN", "SQUARE", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION",
        "ZEROS_LIKE",
    ):  # fmt: skip
        yield name, _case(name, X)
    for name in ("LOG", "RSQRT", "SQRT"):
        yield name, _case(name, _positive(*SHAPE))
    for approximate in (0, 1):
        yield f"GELU-{approximate}", _case("GELU", X, options="GeluOptions", Approximate=approximate)
    yield "LEAKY_RELU", _case("LEAKY_RELU", X, options="LeakyReluOptions", Alpha=0.2)
    for beta in (1.0, 0.5):
        yield f"SOFTMAX-{beta}", _case("SOFTMAX", X, options="SoftmaxOptions", Beta=beta)
    yield "PRELU", _case("PRELU", X, Const(_floats(1, 1, 3)))
    for kind, number in (("int32", 2), ("bool", 6), ("int64", 4), ("int8", 9)):
        yield (f"CAST-{kind}",
               _case("CAST", X, kind=kind, options="CastOptions", InDataType=0, OutDataType=number))  # fmt: skip
    yield "CAST-back", _case("CAST", _whole(*SHAPE), options="CastOptions", InDataType=2, OutDataType=0)
    yield "LOGICAL_NOT", _case("LOGICAL_NOT", _bools(4, 5), out=(4, 5), kind="bool")
    for name in ("LOGICAL_AND", "LOGICAL_OR"):
        yield name, _case(name, _bools(4, 5), ~_bools(4, 5)[:1], out=(4, 5), kind="bool")
    for name in ("ADD", "SUB", "MUL", "DIV"):
        about = f"{name.capitalize()}Options"
        for activation in (0, 1, 3):
            made = _case(name, X, _positive(*SHAPE), options=about, FusedActivationFunction=activation)
            yield f"{name}-{activation}", made
        yield f"{name}-row", _case(name, X, Const(_positive(6, 1)), options=about)
        yield f"{name}-int32", _case(name, _whole(*SHAPE), _whole(3), kind="int32", options=about)
    for name in ("MAXIMUM", "MINIMUM"):
        for other in (_floats(6, 1), np.array(0.3, np.float32)):
            yield f"{name}-{other.ndim}", _case(name, X, other, options="MaximumMinimumOptions")
        yield f"{name}-int32", _case(name, _whole(*SHAPE), _whole(3) - 2, kind="int32")
    yield "POW", _case("POW", _positive(*SHAPE), X, options="PowOptions")
    yield "POW-int32", _case("POW", _whole(4, 5), _whole(4, 5) % 4, out=(4, 5), kind="int32", options="PowOptions")
    for name in ("FLOOR_DIV", "FLOOR_MOD"):
        about = f"{_camel(name)}Options"
        yield name, _case(name, X, _positive(*SHAPE), options=about)
        yield f"{name}-int32", _case(name, _whole(*SHAPE) - 5, _whole(3), kind="int32", options=about)
    yield "SQUARED_DIFFERENCE", _case("SQUARED_DIFFERENCE", X, _floats(3))
    yield "ATAN2", _case("ATAN2", X, _positive(*SHAPE))
    yield "ADD_N", _case("ADD_N", X, _positive(*SHAPE), -X, options="AddNOptions")
    for name in ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"):
        about = f"{_camel(name)}Options"
        yield name, _case(name, X, np.abs(X), kind="bool", options=about)
        yield f"{name}-int32", _case(name, _whole(*SHAPE), _whole(3), kind="bool", options=about)
    for name in ("SELECT", "SELECT_V2"):
        yield name, _case(name, _bools(*SHAPE), X, -X, options=f"{'SelectV2' if '2' in name else 'Select'}Options")
    yield "BITWISE_XOR", _case("BITWISE_XOR", _whole(4, 5), _whole(4, 5) + 2, out=(4, 5), kind="int32")
    yield "RIGHT_SHIFT", _case("RIGHT_SHIFT", _whole(4, 5), _whole(4, 5) % 3, out=(4, 5), kind="int32")


def _reductions() -> Iterator[tuple[str, Case]]:
    for name in ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD"):
        for axes, keep, result in (
            ((1, 2), True, (2, 1, 1, 3)), ((3,), False, (2, 5, 6)), ((0, 1, 2, 3), True, (1, 1, 1, 1)),
        ):  # fmt: skip
            yield (f"{name}-{len(axes)}",
                   _case(name, X, _ints(*axes), out=result, options="ReducerOptions", KeepDims=keep))  # fmt: skip
        if name != "MEAN":
            made = _case(name, _whole(2, 5, 3), _ints(1), out=(2, 3), kind="int32", options="ReducerOptions")
            yield f"{name}-int32", made
    for name in ("REDUCE_ANY", "REDUCE_ALL"):
        yield name, _case(name, _bools(4, 5), _ints(1), out=(4,), kind="bool", options="ReducerOptions")
    for name in ("ArgMax", "ArgMin"):
        for axis, result in ((3, (2, 5, 6)), (1, (2, 6, 3))):
            yield (f"{name}-{axis}",
                   _case(f"ARG_{name[3:].upper()}", X, Const(np.array(axis, np.int32)), out=result, kind="int32",
                         options=f"{name}Options", OutputType=2))  # fmt: skip
    for exclusive, backward in ((0, 0), (1, 0), (0, 1)):
        yield (f"CUMSUM-{exclusive}{backward}",
               _case("CUMSUM", X, Const(np.array(1, np.int32)), options="CumsumOptions", Exclusive=exclusive,
                     Reverse=backward))  # fmt: skip


def _movements() -> Iterator[tuple[str, Case]]:
    result: tuple[int, ...]
    yield "RESHAPE", _case("RESHAPE", X, _ints(5, 36), out=(5, 36), options="ReshapeOptions", NewShape=[5, 36])
    yield "RESHAPE-int64", _case("RESHAPE", _whole(4, 6, kind="int64"), _ints(3, 8), out=(3, 8), kind="int64")
    yield "TRANSPOSE", _case("TRANSPOSE", X, _ints(2, 0, 3, 1), out=(6, 2, 3, 5), options="TransposeOptions")
    yield "EXPAND_DIMS", _case("EXPAND_DIMS", X, Const(np.array(1, np.int32)), out=(2, 1, 5, 6, 3))
    yield "SQUEEZE", _case("SQUEEZE", X[:1], out=SHAPE[1:], options="SqueezeOptions", SqueezeDims=[0])
    for axis, result in ((3, (2, 5, 6, 6)), (1, (2, 10, 6, 3)), (-1, (2, 5, 6, 6))):
        yield (
            f"CONCATENATION-{axis}",
            _case("CONCATENATION", X, -X, out=result, options="ConcatenationOptions", Axis=axis),
        )
    yield (
        "SPLIT",
        _case(
            "SPLIT", Const(np.array(2, np.int32)), X, out=[(2, 5, 2, 3)] * 3, options="SplitOptions", NumSplits=3
        ),
    )
    yield "SPLIT_V", _case(
        "SPLIT_V", X, _ints(1, 4), Const(np.array(1, np.int32)), out=[(2, 1, 6, 3), (2, 4, 6, 3)],
        options="SplitVOptions", NumSplits=2,
    )  # fmt: skip
    yield "PACK", _case("PACK", X, -X, out=(2, 2, 5, 6, 3), options="PackOptions", ValuesCount=2, Axis=1)
    yield "UNPACK", _case("UNPACK", X, out=[(2, 6, 3)] * 5, options="UnpackOptions", Num=5, Axis=1)
    pads = Const(np.array([[0, 0], [1, 2], [0, 3], [0, 0]], np.int32))
    yield "PAD", _case("PAD", X, pads, out=(2, 8, 9, 3), options="PadOptions")
    yield (
        "PADV2",
        _case("PADV2", X, pads, Const(np.array(1.5, np.float32)), out=(2, 8, 9, 3), options="PadV2Options"),
    )
    for mode in (0, 1):
        yield (
            f"MIRROR_PAD-{mode}",
            _case("MIRROR_PAD", X, pads, out=(2, 8, 9, 3), options="MirrorPadOptions", Mode=mode),
        )
    yield (
        "SLICE",
        _case("SLICE", X, _ints(0, 1, 2, 0), _ints(2, 3, -1, 2), out=(2, 3, 4, 2), options="SliceOptions"),
    )
    strided: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        ({"BeginMask": 0, "EndMask": 0, "ShrinkAxisMask": 0}, (2, 2, 3, 3)),
        ({"BeginMask": 2, "EndMask": 4, "ShrinkAxisMask": 8}, (2, 2, 3)),
    ]
    for about, result in strided:
        yield f"STRIDED_SLICE-{about['BeginMask']}", _case(
            "STRIDED_SLICE", X, _ints(0, 1, 0, 0), _ints(2, 4, 6, 3), _ints(1, 2, 2, 1), out=result,
            options="StridedSliceOptions", **about,
        )  # fmt: skip
    yield "TILE", _case("TILE", X, _ints(1, 2, 1, 3), out=(2, 10, 6, 9), options="TileOptions")
    yield "REVERSE_V2", _case("REVERSE_V2", X, _ints(2), options="ReverseV2Options")
    yield "BROADCAST_TO", _case("BROADCAST_TO", _floats(6, 1), _ints(*SHAPE))
    yield (
        "SPACE_TO_DEPTH",
        _case("SPACE_TO_DEPTH", _floats(1, 4, 6, 3), out=(1, 2, 3, 12), options="SpaceToDepthOptions", BlockSize=2),
    )
    yield (
        "DEPTH_TO_SPACE",
        _case("DEPTH_TO_SPACE", _floats(1, 2, 3, 12), out=(1, 4, 6, 3), options="DepthToSpaceOptions", BlockSize=2),
    )
    none, some = (Const(np.array(p, np.int32)) for p in ([[0, 0], [0, 0]], [[0, 2], [0, 0]]))
    yield (
        "SPACE_TO_BATCH_ND",
        _case(
            "SPACE_TO_BATCH_ND",
            _floats(1, 4, 6, 3),
            _ints(2, 3),
            some,
            out=(6, 3, 2, 3),
            options="SpaceToBatchNDOptions",
        ),
    )
    yield (
        "BATCH_TO_SPACE_ND",
        _case(
            "BATCH_TO_SPACE_ND",
            _floats(6, 3, 2, 3),
            _ints(2, 3),
            none,
            out=(1, 6, 6, 3),
            options="BatchToSpaceNDOptions",
        ),
    )
    yield "MATRIX_DIAG", _case("MATRIX_DIAG", _floats(2, 4), out=(2, 4, 4), options="MatrixDiagOptions")
    yield (
        "MATRIX_SET_DIAG",
        _case("MATRIX_SET_DIAG", _floats(2, 4, 4), _floats(2, 4), out=(2, 4, 4), options="MatrixSetDiagOptions"),
    )
    yield "DYNAMIC_UPDATE_SLICE", _case("DYNAMIC_UPDATE_SLICE", X, -X[:, :2], _ints(0, 2, 0, 0))


def _indices() -> Iterator[tuple[str, Case]]:
    for axis, result in ((0, (3, 5, 6, 3)), (2, (2, 5, 3, 3))):
        yield (
            f"GATHER-{axis}",
            _case("GATHER", X, np.array([1, 0, 1], np.int32), out=result, options="GatherOptions", Axis=axis),
        )
    yield "GATHER-known", _case("GATHER", X, _ints(4, 2), out=(2, 2, 6, 3), options="GatherOptions", Axis=1)
    yield (
        "GATHER_ND",
        _case("GATHER_ND", X, np.array([[0, 4], [1, 2]], np.int32), out=(2, 6, 3), options="GatherNdOptions"),
    )
    yield (
        "EMBEDDING_LOOKUP",
        _case("EMBEDDING_LOOKUP", np.array([2, 0], np.int32), Const(_floats(4, 6)), out=(2, 6)),
    )
    yield "ONE_HOT", _case(
        "ONE_HOT", np.array([1, 3, 0], np.int32), Const(np.array(4, np.int32)), Const(np.array(2, np.float32)),
        Const(np.array(-1, np.float32)), out=(3, 4), options="OneHotOptions", Axis=-1,
    )  # fmt: skip
    yield (
        "TOPK_V2",
        _case("TOPK_V2", _floats(4, 9), Const(np.array(3, np.int32)), out=[(4, 3)] * 2, kind="float32 int32"),
    )
    yield (
        "SCATTER_ND",
        _case(
            "SCATTER_ND",
            np.array([[3], [1]], np.int32),
            _floats(2, 4),
            _ints(5, 4),
            out=(5, 4),
            options="ScatterNdOptions",
        ),
    )
    yield (
        "REVERSE_SEQUENCE",
        _case(
            "REVERSE_SEQUENCE",
            X,
            np.array([3, 5], np.int32),
            options="ReverseSequenceOptions",
            SeqDim=1,
            BatchDim=0,
        ),
    )
    yield (
        "WHERE",
        _case("WHERE", _bools(4, 5), out=(int(_bools(4, 5).sum()), 2), kind="int64", options="WhereOptions"),
    )
    yield "UNIQUE", _case("UNIQUE", _whole(8), out=[(5,), (8,)], kind="int32", options="UniqueOptions")


def _layers() -> Iterator[tuple[str, Case]]:
    result: tuple[int, ...]
    source: tuple[int, ...]
    window: dict[str, Any]
    for padding, stride, dilation, activation, result in (
        (SAME, 1, 1, 0, (2, 5, 6, 4)), (VALID, 2, 1, 1, (2, 2, 2, 4)), (SAME, 2, 1, 3, (2, 3, 3, 4)),
        (VALID, 1, 2, 0, (2, 1, 2, 4)),
    ):  # fmt: skip
        window = {
            "Padding": padding, "StrideH": stride, "StrideW": stride, "DilationHFactor": dilation,
            "DilationWFactor": dilation, "FusedActivationFunction": activation,
        }  # fmt: skip
        name = f"{padding}-{stride}-{dilation}"
        yield (
            f"CONV_2D-{name}",
            _case(
                "CONV_2D",
                X,
                Const(_floats(4, 3, 3, 3)),
                Const(_floats(4)),
                out=result,
                options="Conv2DOptions",
                **window,
            ),
        )
        yield f"DEPTHWISE_CONV_2D-{name}", _case(
            "DEPTHWISE_CONV_2D", X, Const(_floats(1, 3, 3, 6)), Const(_floats(6)), out=(*result[:3], 6),
            options="DepthwiseConv2DOptions", DepthMultiplier=2, **window,
        )  # fmt: skip
    for padding, result in ((SAME, (1, 6, 8, 2)), (VALID, (1, 7, 9, 2))):
        yield f"TRANSPOSE_CONV-{padding}", _case(
            "TRANSPOSE_CONV", _ints(*result), Const(_floats(2, 3, 3, 5)), _floats(1, 3, 4, 5), out=result,
            options="TransposeConvOptions", Padding=padding, StrideH=2, StrideW=2,
        )  # fmt: skip
    for keep, source, result in ((False, (4, 6), (4, 5)), (True, (2, 3, 6), (2, 3, 5)), (False, (2, 3, 6), (6, 5))):
        yield f"FULLY_CONNECTED-{keep}-{len(source)}", _case(
            "FULLY_CONNECTED", _floats(*source), Const(_floats(5, 6)), Const(_floats(5)), out=result,
            options="FullyConnectedOptions", KeepNumDims=keep, FusedActivationFunction=1,
        )  # fmt: skip
    yield (
        "FULLY_CONNECTED-no bias",
        _case(
            "FULLY_CONNECTED",
            _floats(4, 6),
            Const(_floats(5, 6)),
            None,
            out=(4, 5),
            options="FullyConnectedOptions",
        ),
    )
    for a, b in ((0, 0), (1, 0), (0, 1)):
        one, other = ((2, 4, 3) if a else (2, 3, 4)), ((2, 5, 4) if b else (2, 4, 5))
        yield f"BATCH_MATMUL-{a}{b}", _case(
            "BATCH_MATMUL", _floats(*one), _positive(*other), out=(2, 3, 5), options="BatchMatMulOptions", AdjX=a,
            AdjY=b,
        )  # fmt: skip
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D"):
        for padding, stride, result in ((SAME, 2, (2, 3, 3, 3)), (VALID, 1, (2, 3, 5, 3))):
            yield f"{name}-{padding}", _case(
                name, X, out=result, options="Pool2DOptions", Padding=padding, StrideH=stride, StrideW=stride,
                FilterHeight=3, FilterWidth=2,
            )  # fmt: skip
    for size in ((10, 12), (3, 7)):
        for align, half in ((False, False), (True, False), (False, True)):
            for name, about in (("RESIZE_BILINEAR", "ResizeBilinearOptions"),
                                ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions")):  # fmt: skip
                yield (
                    f"{name}-{size[0]}-{align:d}{half:d}",
                    _case(
                        name,
                        X,
                        _ints(*size),
                        out=(2, *size, 3),
                        options=about,
                        AlignCorners=align,
                        HalfPixelCenters=half,
                    ),
                )
    yield "LOCAL_RESPONSE_NORMALIZATION", _case(
        "LOCAL_RESPONSE_NORMALIZATION", _floats(1, 3, 4, 8), out=(1, 3, 4, 8),
        options="LocalResponseNormalizationOptions", Radius=2, Bias=1.0, Alpha=0.3, Beta=0.6,
    )  # fmt: skip
    yield "CONV_3D", _case(
        "CONV_3D", _floats(1, 4, 5, 6, 2), Const(_floats(2, 3, 3, 2, 4)), Const(_floats(4)), out=(1, 3, 3, 4, 4),
        options="Conv3DOptions", Padding=VALID, StrideD=1, StrideH=1, StrideW=1, DilationDFactor=1,
        DilationHFactor=1, DilationWFactor=1,
    )  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """`verdict` is right, refused, wrong, or obscure: a refusal that does not name the operator."""

    verdict: str
    detail: str = ""

    @property
    def why(self) -> str:
        """The reason of a refusal, without the names of one example."""
        return re.sub(r"^\S*model\.tflite:? | \(layer [^)]*\)|; .*", "", self.detail)


def outcome(case: Case, answers: list[Array], exact: list[Array] | None = None) -> Outcome:
    """What becomes of a case, beside LiteRT's answers.

    `exact` are those of a quantized case's real numbers: a result may be within a step of them instead. LiteRT's
    kernels of int16 look functions up, and those of dynamic range round their input to 8 bits.
    """
    from tzml.client import World, open_model
    from tzml.compiler import CompileOptions, compile_model
    from tzml.errors import TzmlError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(case.file(shapes=[answer.shape for answer in answers]))
        try:
            compile_model(path, CompileOptions("host")).write(path.with_suffix(".tzm"))
        except TzmlError as error:
            says = str(error)
            is_clear = re.search(
                rf"{case.operator}|(in|out)put t\d|no input is left|nothing is left to compute", says
            )
            return Outcome("refused" if is_clear and "TVM" not in says else "obscure", says)
        with open_model(path.with_suffix(".tzm"), World.ree) as model:
            states = [port.name for port in model.inputs if f"{port.name}/next" in {p.name for p in model.outputs}]
            names = [port.name for port in model.inputs if port.name not in states]
            given = dict(zip(names, case.inputs, strict=True))
            given |= {port.name: np.zeros(port.shape, np.float32) for port in model.inputs if port.name in states}
            for _ in range(RUNS):
                results = model.run(given).outputs
                given |= {name: results[f"{name}/next"] for name in states}
            ours = [results[port.name] for port in model.outputs if port.name.removesuffix("/next") not in states]
    for number, (a, b) in enumerate(zip(ours, answers, strict=True)):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            return Outcome("wrong", f"{a.dtype} {a.shape}, not {b.dtype} {b.shape}")
        real = case.quantized(number, exact[number]) if exact else b
        if not _is_close(a, b, case.is_quantized) and not _is_close(a, real, case.is_quantized):
            return Outcome("wrong", f"{a.ravel()[:6]}, not {b.ravel()[:6]} or {real.ravel()[:6]}")
    return Outcome("right")


RUNS = 2
"""Of a case, each with the states that the one before it left."""


def _is_close(a: Array, b: Array, is_quantized: bool) -> bool:
    if a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=1e-5, atol=1e-5, equal_nan=True))
    if not is_quantized or a.dtype.kind == "b":
        return bool((a == b).all())
    return bool(np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0) <= 1)


def litert_answers(case: Case) -> list[Array] | None:
    """By the newest version of the operator that LiteRT has, with plain kernels; None if it refuses the file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    for version in (5, 4, 3, 2, 1):
        try:
            found = Interpreter(model_content=case.file(version), experimental_op_resolver_type=kernels)
            found.allocate_tensors()
            for _ in range(RUNS):
                for about, x in zip(found.get_input_details(), case.inputs, strict=True):
                    found.set_tensor(about["index"], x)
                found.invoke()
        except (RuntimeError, ValueError):
            continue
        return [found.get_tensor(about["index"]).copy() for about in found.get_output_details()]
    return None


def found_outcome(case: Case) -> Outcome | None:
    """The same with answers that LiteRT gives now; None if it has no kernel for the case."""
    answers = litert_answers(case)
    if answers is None:
        return None
    real = dequantized(case)
    return outcome(case, answers, litert_answers(real) if real else None)


def recorded_answers() -> dict[str, list[Array]]:
    """LiteRT's answers, by the names of the cases; those that LiteRT refuses have none."""
    found: dict[str, list[Array]] = {}
    with np.load(ANSWERS) as file:
        for key in file.files:
            found.setdefault(key.rpartition("/")[0], []).append(file[key])
    return found


def recorded() -> dict[str, str]:
    """Why each case is refused that is, by its name."""
    groups = tomllib.loads(RECORD.read_text()).get("refused", [])
    return {name: group["why"] for group in groups for name in group["cases"]}


def in_make_test() -> list[str]:
    """Names of the cases with a recorded answer: of those of real numbers all, of the others some."""
    names = list(all_cases())
    count = len(dict(cases()))
    return [*names[:count], *names[count::12]]


def _write_answers() -> None:
    """Of what is quantized, LiteRT's answer, and that of its real numbers."""
    arrays: dict[str, Array] = {}
    found = all_cases()
    for name in in_make_test():
        answers = litert_answers(found[name])
        real = dequantized(found[name])
        if answers is not None and (exact := litert_answers(real) if real else None):
            arrays |= {f"{name}@exact/{i}": answer for i, answer in enumerate(exact)}
        arrays |= {f"{name}/{i}": answer for i, answer in enumerate(answers or [])}
    np.savez_compressed(ANSWERS, **arrays)  # type: ignore[arg-type]


def _write_record() -> None:
    groups: dict[str, list[str]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for name, case in all_cases().items():
        found = found_outcome(case)
        counts[case.kind, found.verdict if found else "not LiteRT's"] += 1
        if found is None:
            continue
        if found.verdict == "refused":
            groups.setdefault(found.why, []).append(name)
        elif found.verdict != "right":
            print(f"{name}: {found.verdict}: {found.detail}", flush=True)
    text = "# TFLite's operators that are refused, and why: written by tflite_cases.py\n"
    for why, names in sorted(groups.items()):
        listed = "".join(f"    {json.dumps(name)},\n" for name in sorted(names))
        text += f"\n[[refused]]\nwhy = {json.dumps(why)}\ncases = [\n{listed}]\n"
    RECORD.write_text(text)
    for (kind, verdict), number in sorted(counts.items()):
        print(f"{kind}: {number} {verdict}")


if __name__ == "__main__":
    if "--record-only" not in sys.argv:
        _write_answers()
    if "--answers-only" not in sys.argv:
        _write_record()
