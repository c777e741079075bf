"""ONNX's own examples of its operators (onnx.backend.test), as models that tzml can compile, and their outcomes.

Each runs in a process of its own: a crash and a hang are outcomes like others. onnx_cases.toml is a record of those
that are refused, and why; all others are right. Write it again with

    .venv/bin/python tests/compiler/onnx_cases.py [PART OF A NAME]...

which takes 40 minutes of CPU time without a name. With names, the record of other examples stays.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import pickle
import re
import select
import signal
import sys
import tempfile
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

Array = NDArray[Any]
RECORD = Path(__file__).with_suffix(".toml")
_TYPES = (
    "FLOAT", "FLOAT16", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL",
)  # fmt: skip
"""What a bundle's inputs and outputs can be."""


@dataclass(frozen=True)
class Case:
    """A model, its inputs in the model's order, and the outputs that are right, within the tolerances."""

    name: str
    model: onnx.ModelProto
    inputs: list[Any]
    outputs: list[Any]
    rtol: float
    atol: float

    @property
    def fits_a_bundle(self) -> bool:
        """Whether its inputs and outputs are of types that a bundle can have."""
        kinds = {onnx.TensorProto.DataType.Value(name) for name in _TYPES}
        values = (*self.model.graph.input, *self.model.graph.output)
        return all(v.type.HasField("tensor_type") and v.type.tensor_type.elem_type in kinds for v in values)


@dataclass(frozen=True)
class Outcome:
    """`verdict` is right, refused, wrong, crashed or hung."""

    name: str
    verdict: str
    detail: str = ""

    @property
    def why(self) -> str:
        """The reason of a refusal, without the names and sizes of one example."""
        shown = self.detail.replace("; it", ", it")
        reason = re.sub(r"^/?model.onnx:? | \(layer [^)]*\)|; .*", "", shown)
        return re.sub(r" for the inputs .*|\d+", lambda found: "N" if found[0].isdigit() else "", reason)


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
    changed.ir_version = max(changed.ir_version, 4)  # before, every constant was an input, too
    for value, array in list(zip(model.graph.input, inputs, strict=True))[1:]:
        changed.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    del changed.graph.input[1:]
    return changed


def outcome(case: Case, seconds: float = 120) -> Outcome:
    """What becomes of a case in a process of its own."""
    gc.freeze()  # a collection there would write, and so copy, all that is here
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
            all_inputs = dict(zip((v.name for v in case.model.graph.input), case.inputs, strict=True))
            # those without elements are not inputs of the bundle
            given = {port.name: np.asarray(_array(all_inputs[port.name]), order="C") for port in model.inputs}
            got = list(model.run(given).outputs.values())
    # those without elements are not outputs of the bundle
    for ours, theirs in zip(got, [a for a in map(_array, case.outputs) if a.size], strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return "wrong", f"{ours.dtype} {ours.shape}, not {theirs.dtype} {theirs.shape}"
        try:
            if theirs.dtype.kind == "f":
                # some examples have a tolerance below a step of float16, to which each layer is rounded
                step = float(np.finfo(theirs.dtype).eps)
                largest = np.abs(theirs[np.isfinite(theirs)]).max(initial=0)
                # and others one below what sums of their numbers can be known to
                atol = max(case.atol, step * float(largest))
                np.testing.assert_allclose(ours, theirs, max(case.rtol, 4 * step), atol)
            else:
                np.testing.assert_array_equal(ours, theirs)
        except AssertionError as error:
            return "wrong", " ".join(str(error).split())[:300]
    return "right", ""


def recorded() -> dict[str, str]:
    """Why each example is refused that is, by its name."""
    groups = tomllib.loads(RECORD.read_text())["refused"]
    return {name: group["why"] for group in groups for name in group["cases"]}


def _record(parts: list[str]) -> None:
    import tzml.client
    import tzml.compiler.frontends.onnx.importer  # noqa: F401  each process has it

    refused = recorded() if parts else {}
    counts: Counter[tuple[str, str]] = Counter()
    for case in node_cases():
        if parts and not any(part in case.name for part in parts):
            continue
        found = outcome(case)
        counts["as a bundle's" if case.fits_a_bundle else "others", found.verdict] += 1
        refused.pop(case.name, None)
        if found.verdict == "refused":
            refused[case.name] = found.why
        elif found.verdict != "right":
            print(f"{case.name}: {found.verdict}: {found.detail}", flush=True)
    groups: dict[str, list[str]] = {}
    for name, why in refused.items():
        groups.setdefault(why, []).append(name)
    text = f"# Examples of ONNX {onnx.__version__} that are refused, and why: written by onnx_cases.py\n"
    for why, names in sorted(groups.items()):
        listed = "".join(f"    {json.dumps(name)},\n" for name in sorted(names))
        text += f"\n[[refused]]\nwhy = {json.dumps(why)}\ncases = [\n{listed}]\n"
    RECORD.write_text(text)
    for (types, verdict), number in sorted(counts.items()):
        print(f"types {types}: {number} {verdict}")


if __name__ == "__main__":
    _record(sys.argv[1:])
