"""The client takes NumPy arrays, and says in one line what is wrong with others."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import BUILD, tzml

from tzml.client import RunError, World, open_model
from tzml.errors import TzmlError

IMAGE = np.zeros((1, 1, 28, 28), np.float32)

pytestmark = pytest.mark.usefixtures("libtzml")


def test_a_model_describes_itself(digits_for_host: Path) -> None:
    with open_model(digits_for_host, World.ree) as model:
        assert [str(info) for info in model.inputs] == ["image: float32[1, 1, 28, 28]"]
        assert [str(info) for info in model.outputs] == ["probabilities: float32[1, 10]"]


def test_an_answer_has_arrays_and_the_time(digits_for_host: Path) -> None:
    with open_model(digits_for_host, World.ree) as model:
        answer = model.run({"image": IMAGE})
        assert answer.outputs["probabilities"].sum() == pytest.approx(1)
        assert answer.seconds > 0
        assert model.memory().arena > IMAGE.nbytes


def test_a_request_with_an_id_has_the_same_answer(digits_for_host: Path) -> None:
    with open_model(digits_for_host, World.ree) as model:
        outputs = [
            model.run(IMAGE, request=name).outputs["probabilities"].tobytes() for name in ("", "a", "a", "ä")
        ]
        assert len(set(outputs)) == 1


def test_an_answer_has_the_processors_time_and_a_model_that_of_all_runs(digits_for_host: Path) -> None:
    with open_model(digits_for_host, World.ree) as model:
        before = time.thread_time()
        answers = [model.run(IMAGE) for _ in range(300)]
        took = time.thread_time() - before
        usage = model.usage()
        assert min(answer.cpu_seconds for answer in answers) > 0
        assert took / 20 < sum(answer.cpu_seconds for answer in answers) < took
        in_all = pytest.approx(usage.user_seconds + usage.kernel_seconds)
        assert sum(answer.cpu_seconds for answer in answers) == in_all


def test_the_memory_of_the_process_is_what_linux_says(digits_for_host: Path) -> None:
    def most() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

    with open_model(digits_for_host, World.ree) as model:
        model.run(IMAGE)
        before, found = most(), model.usage().peak_memory
        assert before <= found <= most()
        block = np.ones(found // 8)  # as much again, and all of it is touched
        assert model.usage().peak_memory > found + block.nbytes // 2


def test_the_command_says_what_a_run_took(digits_for_host: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGE)
    command = ("run", digits_for_host, "--world", "ree", "--input", tmp_path / "x.npy", "--repeat", "5")
    report = json.loads(tzml(*command, "--json").stdout)
    cpu = report["cpu_seconds"]
    assert len(cpu["samples"]) == 5
    assert cpu["user"] + cpu["kernel"] == pytest.approx(np.mean(cpu["samples"]))
    assert min(cpu["samples"]) > 0
    assert report["memory"]["normal_peak"] > 1 << 20
    said = tzml(*command).stdout
    assert re.search(r"mean CPU time [\d.]+ ms: user [\d.]+, kernel [\d.]+", said)
    assert re.search(r"normal memory at most [\d,]{7,}", said)


def test_two_models_are_open_at_once(digits_for_host: Path) -> None:
    with open_model(digits_for_host, World.ree) as first, open_model(digits_for_host, World.ree) as second:
        one = first.run(IMAGE).outputs["probabilities"]
        first.close()
        assert (second.run(IMAGE).outputs["probabilities"] == one).all()
        with pytest.raises(TzmlError, match="the model is closed"):
            first.run(IMAGE)


def test_a_tvm_function_takes_and_gives_tvm_tensors(digits_for_host: Path) -> None:
    tvm_ffi = pytest.importorskip("tvm_ffi")
    from tzml.client.tvm_ffi import as_function

    with open_model(digits_for_host, World.ree) as model:
        result = as_function(model)(tvm_ffi.from_dlpack(IMAGE))
        assert (np.from_dlpack(result) == model.run(IMAGE).outputs["probabilities"]).all()


@pytest.mark.parametrize(
    ("array", "status", "message"),
    [
        (IMAGE.astype(np.float64), "INPUT_TYPE", r"not float64; convert it: x.astype\(numpy.float32\)"),
        (IMAGE[0], "INPUT_SIZE", r"not shape \[1, 28, 28\]"),
        (np.zeros((2, 1, 28, 28), np.float32), "INPUT_SIZE", r"not shape \[2, 1, 28, 28\]"),
        ({"picture": IMAGE}, "INPUT_NAME", "no array was given for the input image"),
        ({"image": IMAGE, "more": IMAGE}, "INPUT_NAME", "the model has no input more"),
    ],
    ids=["float64", "rank", "batch", "name", "extra"],
)
def test_a_wrong_input_is_refused_and_the_next_one_runs(
    digits_for_host: Path, array: object, status: str, message: str
) -> None:
    with open_model(digits_for_host, World.ree) as model:
        with pytest.raises(RunError, match=message) as caught:
            model.run(array)  # type: ignore[arg-type]
        assert caught.value.status == status
        model.run(IMAGE)


def test_a_world_that_is_not_there_is_named(digits_for_host: Path) -> None:
    with pytest.raises(RunError, match="built without that world; use the other world"):
        open_model(digits_for_host, World.tee)


def test_a_damaged_bundle_is_refused(digits_for_host: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tzm"
    data = digits_for_host.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(RunError, match=f"shorter than its header says: {path} has {len(data) - 1} bytes"):
        open_model(path, World.ree)
    path.write_bytes(data[:-100] + bytes(100))
    with pytest.raises(RunError, match="a section of the bundle does not match its digest"):
        open_model(path, World.ree)
    with pytest.raises(RunError, match="cannot be read"):
        open_model(tmp_path / "missing.tzm", World.ree)


def test_the_commands_run_what_was_stacked(digits_for_host: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 1, 28, 28), np.float32))
    arguments = ("run", digits_for_host, "--input", tmp_path / "x.npy", "--world", "ree")
    done = tzml(*arguments, "--repeat", "2", "--json", "--output", tmp_path / "y.npy")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert np.shape(report["outputs"]["probabilities"]) == (3, 10)
    assert len(report["seconds"]["samples"]) == 6
    assert np.load(tmp_path / "y.npy").shape == (3, 10)
    shown = tzml(*arguments)
    assert "3 inferences in the REE: median" in shown.stdout


def test_the_c_command_gives_the_same_bytes(digits_for_host: Path, tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(IMAGE.tobytes())
    program = BUILD / "host" / "tzml-run"
    environment = {"LD_LIBRARY_PATH": str(BUILD / "host")}

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)

    done = run("-w", "ree", "-n", "3", digits_for_host, tmp_path / "x.bin", tmp_path / "y.bin")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    with open_model(digits_for_host, World.ree) as model:
        assert (tmp_path / "y.bin").read_bytes() == model.run(IMAGE).outputs["probabilities"].tobytes()
    (tmp_path / "x.bin").write_bytes(b"short")
    short = run("-w", "ree", digits_for_host, tmp_path / "x.bin", tmp_path / "y.bin")
    assert short.returncode == 1
    assert "x.bin has only 5 bytes; the model takes 3136" in short.stderr
    assert run("-w", "moon").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("run", "none.tzm", "--input", "x.npy"), 2, "File 'none.tzm' does not exist"),
        (("run", "{bundle}", "--input", "{bundle}", "--world", "ree"), 2, "is not an array in NumPy's .npy format"),
        (
            ("run", "{bundle}", "--input", "{npy}", "--world", "ree", "--output", "/dev/null/y.npy"),
            2,
            "cannot write /dev/null/y.npy: Not a directory; give another file to --output",
        ),
        (("inspect", "{npy}"), 2, "the file does not begin as a bundle does (NOT_A_BUNDLE)"),
        (("compile", "{npy}", "--target", "qemu"), 2, "is a NumPy array; give the file of a model"),
        (("compile", "{npy}", "--target", "toaster"), 2, "'toaster' is not one of"),
        (("compile", "{npy}", "--target", "qemu", "--input", "x=axb"), 2, "is not NAME=SHAPE[:DTYPE]"),
    ],
)
def test_the_commands_say_in_one_line_what_is_wrong(
    digits_for_host: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    npy = tmp_path / "x.npy"
    np.save(npy, IMAGE)
    done = tzml(*(a.format(bundle=digits_for_host, npy=npy) for a in arguments))
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
