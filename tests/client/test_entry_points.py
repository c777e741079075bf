"""Entry points, state, and bundles that are no file, with the specification's examples and their kernels."""

from __future__ import annotations

import hashlib
import os
import platform
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import bundle_bounds
import bundle_examples
import numpy as np
import pytest
from bundle_examples import ANSWER, BUNDLE, HEADER, patch
from conftest import BUILD
from programs import first_write_to_stderr

from tzml.bundle import Bundle, Library, Role, Target, Worlds
from tzml.client import Model, RunError, World, open_model
from tzml_lab.inference import bad_bundles

HOST = Target.aarch64 if platform.machine() == "aarch64" else Target.x86_64
INPUT = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
TOTAL = float(INPUT.sum())

pytestmark = pytest.mark.usefixtures("libtzml")


@pytest.fixture(scope="module")
def library(c_tests: Path) -> Library:
    """The examples' kernels, as Linux loads them."""
    return Library(b"not signed", (c_tests / "example_kernels.so").read_bytes())


@pytest.fixture
def opened(library: Library) -> Callable[[Bundle], Model]:
    """Opens an example in the normal world of this host."""

    def open_(bundle: Bundle) -> Model:
        return open_model(for_host(bundle, library), World.ree)

    return open_


def for_host(bundle: Bundle, library: Library) -> bytes:
    return replace(bundle, target=HOST, libraries=(library,) * len(bundle.libraries)).encode()


def score(model: Model) -> float:
    return float(model.run(INPUT).outputs["score"][0])


def test_a_model_has_programs_and_the_first_entry_point_is_run(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.two_entries()) as model:
        assert [(p.name, p.role, p.entry, p.world) for p in model.programs] == [
            ("main", Role.infer, 0, World.ree),
            ("total", Role.evaluate, 1, World.ree),
        ]
        assert score(model) == ANSWER
        model.select(1)
        assert score(model) == TOTAL
        model.select(0)
        assert score(model) == ANSWER


def test_an_entry_point_that_is_not_there_is_refused(opened: Callable[[Bundle], Model]) -> None:
    with opened(BUNDLE) as model:
        with pytest.raises(RunError, match=r"has no entry point 1; give one that `tzml inspect` shows") as caught:
            model.select(1)
        assert caught.value.status == "PROGRAM"
        assert score(model) == ANSWER


def test_programs_that_follow_each_other_are_one_model(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.partition()) as model:
        assert [info.name for info in model.inputs] == ["image"]
        assert [info.name for info in model.outputs] == ["score"]
        assert score(model) == ANSWER
        assert score(model) == ANSWER


@pytest.mark.parametrize(
    ("bundle", "program"),
    [
        (bundle_examples.partition(Worlds.ree, Worlds.tee), "second"),
        (bundle_examples.partition(Worlds.tee, Worlds.ree), "first"),
    ],
    ids=["ree-tee", "tee-ree"],
)
def test_the_normal_world_alone_does_not_run_what_is_the_secure_worlds(
    opened: Callable[[Bundle], Model], bundle: Bundle, program: str
) -> None:
    with pytest.raises(RunError, match=f"program {program} runs only in the other world") as caught:
        opened(bundle)
    assert caught.value.status == "PROGRAM"


def test_a_program_may_take_its_inputs_in_another_order_than_the_caller_gives_them(
    opened: Callable[[Bundle], Model],
) -> None:
    with opened(bundle_bounds.swapped()) as model:
        assert [info.name for info in model.inputs] == ["image", "step"]
        assert [info.name for info in model.outputs] == ["score", "sum"]
        outputs = model.run({"step": np.full(16, 2, np.float32), "image": INPUT}).outputs
        assert outputs["score"].tolist() == [TOTAL * 2]
        assert outputs["sum"].tolist() == (INPUT * 2 + 2).ravel().tolist()


def test_state_lives_as_long_as_the_model_is_open(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.stateful()) as model:
        assert [score(model) for _ in range(3)] == [ANSWER, 2 * ANSWER, 3 * ANSWER]
        model.reset()
        assert score(model) == ANSWER
        assert model.memory().state == 128
    with opened(bundle_examples.stateful()) as model:
        assert score(model) == ANSWER


def test_a_model_without_state_is_left_alone_by_a_reset(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.streamed()) as model:
        model.reset()
        assert score(model) == ANSWER


def test_two_programs_share_the_state_and_chunks_that_take_turns(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.state_streamed()) as model:
        assert [score(model) for _ in range(2)] == [2 * ANSWER, 3 * ANSWER]
        model.select(1)
        looked = score(model)
        assert looked == score(model)
        model.select(0)
        assert score(model) == 4 * ANSWER
        assert all(chunk.loads >= 3 for chunk in model.chunks())


def test_a_run_that_fails_loses_the_state_until_it_is_reset(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.stateful()) as model:
        with pytest.raises(RunError) as failed:
            model.run(np.full_like(INPUT, np.nan))  # the examples' kernels fail on it
        with pytest.raises(RunError, match=r"half changed.*reset the state, or open the model again") as lost:
            model.run(INPUT)
        assert (failed.value.status, lost.value.status) == ("KERNEL_FAILED", "STATE_LOST")
        model.reset()
        assert score(model) == ANSWER


def test_a_run_that_fails_without_state_is_over(opened: Callable[[Bundle], Model]) -> None:
    with opened(BUNDLE) as model:
        with pytest.raises(RunError, match="a kernel reported a failure"):
            model.run(np.full_like(INPUT, np.nan))
        assert score(model) == ANSWER


def test_several_libraries_are_open_at_once(opened: Callable[[Bundle], Model]) -> None:
    with opened(bundle_examples.two_libraries()) as model, opened(bundle_examples.two_libraries()) as other:
        assert score(model) == ANSWER
        model.select(2)
        other.select(1)
        assert score(model) == score(other) == TOTAL


def test_a_bundle_comes_from_a_path_a_descriptor_or_memory(library: Library, tmp_path: Path) -> None:
    data = for_host(bundle_examples.streamed(), library)
    path = tmp_path / "model.tzm"
    path.write_bytes(data)
    descriptor = os.open(path, os.O_RDONLY)
    models = [open_model(path, World.ree), open_model(descriptor, World.ree), open_model(data, World.ree)]
    os.close(descriptor)
    path.unlink()
    del data
    for model in models:  # chunks are still read from where the bundle was
        assert score(model) == ANSWER
        model.close()


@pytest.mark.parametrize("data", [b"", b"\x89TZM\r\n\x1a", b"text, and no bundle" * 30])
def test_bytes_that_are_no_bundle_are_refused(data: bytes) -> None:
    with pytest.raises(RunError, match="not a tzml bundle: the bundle in memory"):
        open_model(data, World.ree)


def test_a_descriptor_that_cannot_be_read_is_refused() -> None:
    read, write = os.pipe()
    with pytest.raises(RunError, match="cannot be read: the bundle: Illegal seek"):
        open_model(read, World.ree)
    os.close(read)
    os.close(write)
    with pytest.raises(RunError, match="Bad file descriptor"):
        open_model(read, World.ree)


EXAMPLES = {example.name: example for example in bundle_examples.Examples()}


def header_digest(data: bytes) -> bytes:
    (size,) = struct.unpack_from("<I", data, 12)
    return hashlib.sha256(data[:224] + bytes(96) + data[HEADER:size]).digest()


def for_this_processor(data: bytes) -> bytes:
    """An example, which is for AArch64, unless its header's digest is what is wrong with it."""
    if len(data) < HEADER or header_digest(data) != data[224:256]:
        return data
    (target,) = struct.unpack_from("<I", data, 56)
    if Target.aarch64 != HOST:
        data = patch(data, 56, "I", HOST if target == Target.aarch64 else Target.aarch64)
    return patch(data, 224, "32s", header_digest(data))


def test_libtzml_gives_the_statuses_that_a_targets_normal_world_gives() -> None:
    # the libraries of the examples are none, which a bundle without other faults is refused for
    given = {}
    for name in bad_bundles.example_statuses():
        with pytest.raises(RunError) as caught:
            open_model(for_this_processor(EXAMPLES[name].data), World.ree)
        given[name] = caught.value.status
    assert given == {name: statuses["ree"] for name, statuses in bad_bundles.example_statuses().items()}


def test_a_file_that_changes_while_it_is_open_gives_no_wrong_answer(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "model.tzm"
    data = for_host(bundle_examples.streamed(), library)
    path.write_bytes(data)
    with open_model(path, World.ree) as model:
        assert score(model) == ANSWER
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            file.write(b"\x55")
        with pytest.raises(RunError, match="does not match its digest"):
            model.run(INPUT)


def test_the_c_command_runs_the_entry_point_that_it_is_given(library: Library, tmp_path: Path) -> None:
    (tmp_path / "model.tzm").write_bytes(for_host(bundle_examples.two_entries(), library))
    (tmp_path / "x.bin").write_bytes(INPUT.tobytes())
    files = ("model.tzm", "x.bin", "y.bin")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"LD_LIBRARY_PATH": str(BUILD / "host")}
        return subprocess.run([BUILD / "host" / "tzml-run", *arguments], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, check=False)  # fmt: skip

    assert run("-w", "ree", "-e", "1", *files).returncode == 0
    assert np.fromfile(tmp_path / "y.bin", np.float32).tolist() == [TOTAL]
    refused = run("-w", "ree", "-e", "2", *files)
    assert refused.returncode == 1
    assert refused.stderr.startswith(
        "tzml-run: the model has no such program or entry point in this world: model.tzm"
    )
    for wrong in (("-e", "-1"), ("-e", "x"), ("-n", "0"), ("-x",)):
        assert run(*wrong, *files).returncode == 2
    shown = run("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("usage: tzml-run")


def test_an_error_of_the_c_command_is_one_write(libtzml: Path) -> None:
    """So that lines of several clients stay whole on a console."""
    command = [str(BUILD / "host/tzml-run"), "none.tzm", "none.bin", "none.out"]
    assert first_write_to_stderr(command, {"LD_LIBRARY_PATH": str(BUILD / "host")}).endswith(b"\n")
