"""ONNX's own examples of its operators (onnx.backend.test), as models that tzml can compile, and their outcomes.

Each runs in a process of its own: a crash and a hang are outcomes like others.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """A model, its inputs in the model's order, and the outputs that are right, within the tolerances."""

    name: str
    model: onnx.ModelProto
    inputs: list[Any]
    outputs: list[Any]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Outcome:
    """`verdict` is right, refused, wrong, crashed or hung."""

    name: str
    verdict: str
    detail: str = ""


def node_cases() -> Iterator[Case]:
    """Every example, and where it has several inputs, once more with all but the first known when compiling."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    for case in found:
        (inputs, outputs), *_ = case.data_sets
        yield Case(case.name, case.model, inputs, outputs, case.rtol, case.atol)
        constant = _with_constants(case.model, inputs)
        if constant is not None:
            yield Case(f"{case.name}[constants]", constant, inputs[:1], outputs, case.rtol, case.atol)


def _with_constants(model: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto | None:
    if len(inputs) < 2 or not all(isinstance(array, np.ndarray | np.generic) for array in inputs):
        return None
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for value, array in list(zip(model.graph.input, inputs, strict=True))[1:]:
        changed.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    del changed.graph.input[1:]
    return changed


def outcome(case: Case, seconds: float = 120) -> Outcome:
    """What becomes of a case in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        result = ("crashed", "an exception")
        try:
            result = _compile_and_compare(case)
        except BaseException as error:
            result = ("crashed", repr(error))
        finally:
            with contextlib.suppress(OSError):
                os.write(writer, pickle.dumps(result)[:60000])
            os._exit(0)
    os.close(writer)
    data, end = b"", time.monotonic() + seconds
    try:
        while True:
            if not select.select([reader], [], [], max(0, end - time.monotonic()))[0]:
                os.kill(child, signal.SIGKILL)
                return Outcome(case.name, "hung", f"after {seconds} s")
            part = os.read(reader, 1 << 16)
            if not part:
                break
            data += part
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    if not data:
        return Outcome(case.name, "crashed", f"signal {os.WTERMSIG(status)}")
    return Outcome(case.name, *pickle.loads(data))


def _array(value: Any) -> Array:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def _compile_and_compare(case: Case) -> tuple[str, str]:
    from tzml.client import World, open_model
    from tzml.compiler import CompileOptions, compile_model
    from tzml.errors import TzmlError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(case.model.SerializeToString())
        try:
            bundle = compile_model(path, CompileOptions("host"))
        except TzmlError as error:
            return "refused", str(error).replace(folder, "")
        bundle.write(path.with_suffix(".tzm"))
        with open_model(path.with_suffix(".tzm"), World.ree) as model:
            given = {
                i.name: np.asarray(_array(x), order="C") for i, x in zip(model.inputs, case.inputs, strict=True)
            }
            got = list(model.run(given).outputs.values())
    for ours, theirs in zip(got, case.outputs, strict=True):
        theirs = _array(theirs)
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return "wrong", f"{ours.dtype} {ours.shape}, not {theirs.dtype} {theirs.shape}"
        try:
            if theirs.dtype.kind == "f":
                np.testing.assert_allclose(ours, theirs, case.rtol, case.atol)
            else:
                np.testing.assert_array_equal(ours, theirs)
        except AssertionError as error:
            return "wrong", " ".join(str(error).split())[:300]
    return "right", ""
