"""Tuning finds schedules by measuring; a compile may use them, and computes the same."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from small_models import floats, onnx_model

from tzml.bench.candidates import count_instructions, measure_with
from tzml.bench.kernels import Kernels
from tzml.compiler import TARGETS, CompileOptions, compile_model
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.tuning.search import Candidate, Tuned, tune_model
from tzml.errors import TzmlError

CC = TARGETS["qemu"].cc
count = measure_with(count_instructions, CC)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense layer, which has a template, and a softmax, which TVM's rules schedule."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["y"], axis=1),
    ]
    path = tmp_path_factory.mktemp("tuning") / "model.onnx"
    onnx.save(onnx_model(*nodes, shape=(1, 100), out=(1, 96), w=floats(100, 96)), path)
    return path


@pytest.fixture(scope="module")
def tuned(model: Path) -> tuple[Tuning, list[Tuned]]:
    tuning = Tuning("qemu", "instructions")
    return tuning, tune_model(model, CompileOptions("qemu"), tuning, count, trials=8)


def instructions(model: Path, tuning: Tuning | None, folder: Path) -> float:
    """Those of an inference, whose result is ONNX Runtime's."""
    folder.mkdir()
    bundle = compile_model(model, CompileOptions("qemu", tuning=tuning))
    data = floats(1, 100)
    kernels = Kernels(bundle, CC, folder, [data])
    cost = kernels.measure(1).value
    [expected] = onnxruntime.InferenceSession(model).run(None, {"x": data})
    np.testing.assert_allclose(kernels.result(), expected, rtol=1e-5, atol=1e-6)
    return cost


def test_a_tuned_model_takes_fewer_instructions_and_computes_the_same(
    model: Path, tuned: tuple[Tuning, list[Tuned]], tmp_path: Path
) -> None:
    tuning, found = tuned
    gain = sum((kernel.record.ours - kernel.record.best) * kernel.calls for kernel in found)
    assert gain > 0
    untuned, better = (instructions(model, t, tmp_path / name) for name, t in (("a", None), ("b", tuning)))
    assert untuned - better == pytest.approx(gain, rel=0.05)


def test_what_was_found_is_kept_in_a_file_and_not_searched_again(
    model: Path, tuned: tuple[Tuning, list[Tuned]], tmp_path: Path
) -> None:
    tuning, found = tuned
    tuning.write(tmp_path / "tuning.json")
    read = Tuning.read(tmp_path / "tuning.json", "qemu")
    assert read.records == tuning.records
    measured: list[Candidate] = []

    def note(candidates: Sequence[Candidate]) -> list[float]:
        measured.extend(candidates)
        return count(candidates)

    again = tune_model(model, CompileOptions("qemu"), read, note, trials=8)
    assert [kernel.record for kernel in again] == [kernel.record for kernel in found]
    assert len(measured) == len(found)  # what ours take, which tells what is worth a search


def test_kernels_that_do_not_run_are_no_candidates(tuned: tuple[Tuning, list[Tuned]]) -> None:
    source = "int bad(void *a) { (void)a; __builtin_trap(); }"
    good = "int good(void *a) { (void)a; return 0; }"
    candidates = [Candidate(name, compiled(text), (64,)) for name, text in (("bad", source), ("good", good))]
    bad, ran = count(candidates)
    assert (bad, ran < 1000) == (float("inf"), True)


def test_a_board_that_does_not_answer_ends_the_search() -> None:
    def run(_: Path) -> str:
        raise TzmlError("no answer")

    good = Candidate("good", compiled("int good(void *a) { (void)a; return 0; }"), (64,))
    with pytest.raises(TzmlError, match="no answer"):
        measure_with(run, CC)([good, good])


def compiled(source: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.c")
        path.write_text(source)
        subprocess.run([CC, "-c", "-fPIC", path, "-o", path.with_suffix(".o")], check=True)
        return path.with_suffix(".o").read_bytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a tuning file: Invalid JSON"),
        ('{"tuning": 2, "target": "rpi3", "unit": "instructions"}', "is not a tuning file: tuning: "),
        ('{"target": "qemu", "unit": "instructions"}', "was tuned for qemu, not for rpi3"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "tuning.json").write_text(content)
    with pytest.raises(CompileError, match=message):
        Tuning.read(tmp_path / "tuning.json", "rpi3")


def test_a_schedule_of_something_else_is_refused(model: Path, tuned: tuple[Tuning, list[Tuned]]) -> None:
    tuning, _ = tuned
    traces = [record.trace for record in tuning.records.values()]
    wrong = Tuning("rpi3", "instructions")
    for (key, record), trace in zip(tuning.records.items(), reversed(traces), strict=True):
        wrong.records[key] = record.model_copy(update={"trace": trace or [[["Nonsense", [], [], []]], []]})
    with pytest.raises(CompileError, match="in the tuning file cannot be applied"):
        compile_model(model, CompileOptions("rpi3", tuning=wrong))
