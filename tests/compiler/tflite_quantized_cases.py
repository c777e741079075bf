"""TFLite files of one quantized operator, made of those of real numbers and of what LiteRT answers to them.

int8, uint8 and int16 have scales that cover the numbers; with `weights`, only constants are quantized (dynamic
range).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from tflite_case import Array, Case, Const, State
from tflite_models import Tensor

KINDS = ("int8", "uint8", "int16", "weights")
# scale and zero point of int8 that TFLite's kernels take for granted; those of uint8 are 128 more
RESULTS = {
    "LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0), "LOG_SOFTMAX": (16 / 256, 127),
    "L2_NORMALIZATION": (1 / 128, 0),
}  # fmt: skip
# operators with weights: their position, the axis of the output's channels, and the position of the input
LAYERS = {
    "CONV_2D": (1, 0, 0), "DEPTHWISE_CONV_2D": (1, 3, 0), "FULLY_CONNECTED": (1, 0, 0), "TRANSPOSE_CONV": (1, 0, 2),
}  # fmt: skip
ONE_SCALE = {
    "MAXIMUM", "MINIMUM", "NEG", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "TRANSPOSE",
    "EXPAND_DIMS", "SQUEEZE", "CONCATENATION", "SPLIT", "SPLIT_V", "PACK", "UNPACK", "PAD", "PADV2",
    "MIRROR_PAD", "SLICE", "STRIDED_SLICE", "TILE", "REVERSE_V2", "BROADCAST_TO", "SPACE_TO_DEPTH",
    "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "GATHER", "GATHER_ND", "TOPK_V2", "SELECT",
    "SELECT_V2", "DYNAMIC_UPDATE_SLICE", "REVERSE_SEQUENCE", "MAX_POOL_2D", "AVERAGE_POOL_2D", "REDUCE_MAX",
    "REDUCE_MIN", "SCATTER_ND", "EMBEDDING_LOOKUP", "MATRIX_DIAG", "MATRIX_SET_DIAG", "CUMSUM",
}  # fmt: skip


def quantized_cases(cases: Mapping[str, Case], answers: Mapping[str, list[Array]]) -> Iterator[tuple[str, Case]]:
    """A case of real numbers in each kind, for which LiteRT may have no kernel."""
    for name, case in cases.items():
        if not _is_real(case) or name not in answers:
            continue
        for kind in KINDS:
            made = _with_weights(case) if kind == "weights" else _quantized(case, answers[name], kind)
            if made is not None:
                yield f"{name}/{kind}", made
        if case.operator in LAYERS:
            made = _quantized(case, answers[name], "int8", per_tensor=True)
            if made is not None:
                yield f"{name}/int8-one-scale", made


def _is_real(case: Case) -> bool:
    return any(_data(operand).dtype == np.float32 for operand in case.operands if operand is not None)


def _data(operand: Any) -> Array:
    return operand if isinstance(operand, np.ndarray) else operand.data


def _steps(numbers: list[Array], kind: str) -> tuple[float, int]:
    low = min(0.0, *(float(n.min()) for n in numbers if n.size))
    high = max(0.0, *(float(n.max()) for n in numbers if n.size))
    if kind == "int16":
        return max(-low, high, 1e-3) / 32767, 0
    scale = max(high - low, 1e-3) / 255
    zero = round(-low / scale)
    return scale, zero - (0 if kind == "uint8" else 128)


def _integers(data: Array, scale: Any, zero: int, kind: str, axis: int = 0) -> Array:
    about = np.iinfo(kind)
    by = np.asarray(scale, np.float64)
    if by.ndim:
        by = by.reshape([-1 if i == axis else 1 for i in range(data.ndim)])
    return np.asarray(np.clip(np.round(data / by) + zero, about.min, about.max), kind)


def _weights(data: Array, kind: str, axis: int, *, per_tensor: bool) -> Const:
    if kind == "uint8":
        scale, zero = _steps([data], kind)
        return Const(_integers(data, scale, zero, kind), scale, zero)
    if per_tensor:
        one = float(np.abs(data).max()) / 127
        return Const(_integers(data, one, 0, "int8"), one)
    scales = np.abs(data).max(axis=tuple(i for i in range(data.ndim) if i != axis)) / 127
    return Const(_integers(data, scales, 0, "int8", axis), scales, 0, axis)


def _quantized(case: Case, answers: list[Array], kind: str, *, per_tensor: bool = False) -> Case | None:
    real = [_data(o) for o in case.operands if o is not None and _data(o).dtype == np.float32]
    shared = (
        _steps([*real, *(a for a in answers if a.dtype == np.float32)], kind)
        if case.operator in ONE_SCALE
        else None
    )
    weights, axis, given = LAYERS.get(case.operator, (-1, 0, -1))
    if weights >= 0 and not isinstance(case.operands[weights], Const):
        return None
    operands: list[Any] = []
    for position, operand in enumerate(case.operands):
        if operand is None or _data(operand).dtype != np.float32:
            operands.append(operand)
        elif isinstance(operand, State):
            return None
        elif position == weights:
            operands.append(_weights(_data(operand), kind, axis, per_tensor=per_tensor))
        elif position > weights >= 0 and position != given:
            operands.append(_data(operand))  # a bias, below
        else:
            scale, zero = shared or _steps([_data(operand)], kind)
            made = _integers(_data(operand), scale, zero, kind)
            operands.append(
                Const(made, scale, zero) if isinstance(operand, Const) else State(made, scale, zero, is_input=True)
            )
    for position, operand in enumerate(operands):
        if isinstance(operand, np.ndarray) and position > weights >= 0 and operand.dtype == np.float32:
            units = np.atleast_1d(np.asarray(operands[weights].scale) * operands[given].scale)
            numbers = np.round(operand / units).astype("int64" if kind == "int16" else "int32")
            operands[position] = Const(numbers, units)
    results = []
    for result, answer in zip(case.results, answers, strict=True):
        if answer.dtype != np.float32:
            results.append(result)
            continue
        scale, zero = shared or _steps([answer], kind)
        if case.operator in RESULTS:
            scale, zero = RESULTS[case.operator]
            zero += 128 if kind == "uint8" else 0
            if kind == "int16":
                scale, zero = 1 / 32768, 0
        results.append(Tensor(result.shape, kind, scale, zero))
    return Case(case.operator, tuple(operands), tuple(results), case.options, case.values)


def _with_weights(case: Case) -> Case | None:
    """Constants of more than a row in int8, all else real."""
    operands: list[Any] = []
    axis = LAYERS.get(case.operator, (1, 0, 0))[1]
    changed = False
    for operand in case.operands:
        if isinstance(operand, Const) and operand.data.dtype == np.float32 and operand.data.ndim > 1:
            per_tensor = case.operator not in ("CONV_2D", "DEPTHWISE_CONV_2D")
            operands.append(_weights(operand.data, "int8", axis, per_tensor=per_tensor))
            changed = True
        else:
            operands.append(operand)
    return Case(case.operator, tuple(operands), case.results, case.options, case.values) if changed else None


def dequantized(case: Case) -> Case | None:
    """A quantized case of the real numbers that its integers stand for; None for another one."""
    operands = [_real(operand) for operand in case.operands]
    if all(new is old for new, old in zip(operands, case.operands, strict=True)):
        return None
    results = tuple(Tensor(r.shape, "float32" if r.scale is not None else r.kind) for r in case.results)
    return Case(case.operator, tuple(operands), results, case.options, case.values)


def _real(operand: Any) -> Any:
    if operand is None or isinstance(operand, np.ndarray) or operand.scale is None:
        return operand
    scale = np.asarray(operand.scale, np.float64)
    if scale.size > 1:
        scale = scale.reshape([-1 if i == operand.axis else 1 for i in range(operand.data.ndim)])
    numbers = np.asarray((operand.data.astype(np.int64) - operand.zero) * scale, np.float32)
    return Const(numbers) if isinstance(operand, Const) else numbers
