"""Networks that are larger than their secure memory give the right answers in the promised memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from labgrid import Target

from tzml.bundle import Bundle
from tzml.bundle.streaming import bytes_loaded
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference import WORLDS
from tzml_lab.inference.answers import TargetRun, ask
from tzml_lab.inference.compiling import needed_key
from tzml_lab.inference.networks import FULL, PART, SECURE_MEMORY, Network, networks
from tzml_lab.results.timings import Timings
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature(["network", "python"])  # tens of megabytes

FOLDER = "/tmp/networks"

# The compiler cannot know exactly what the TA takes for itself. It rounds up by no more than this many bytes.
ROUNDING = 48 << 10


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "network" in metafunc.fixturenames:
        names = FULL if metafunc.config.option.networks == "full" else PART
        metafunc.parametrize("network", networks(names), ids=names, scope="module")


@pytest.fixture(scope="module")
def bundle(network: Network, target: Target) -> Bundle:
    return network.compile(image_of(target.env.config).description.machine, needed_key(target))


@pytest.fixture(scope="module")
def answers(
    network: Network, bundle: Bundle, command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, TargetRun]]:
    """The answers of both worlds, in one boot."""
    files = files_of(target)
    folder = tmp_path_factory.mktemp(network.model.name)
    bundle.write(folder / "model.tzm")
    np.save(folder / "inputs.npy", np.concatenate(network.inputs))
    command.run_check(f"rm -rf {FOLDER}; mkdir {FOLDER}")
    for name in ("model.tzm", "inputs.npy"):
        files.put(str(folder / name), f"{FOLDER}/{name}")
    model, inputs = f"{FOLDER}/model.tzm", f"{FOLDER}/inputs.npy"
    yield {world: ask(target, model, inputs, world, folder, "--repeat 2", timeout=600) for world in WORLDS}
    command.run_check(f"rm -rf {FOLDER}")


def test_both_worlds_agree_to_the_bit(answers: dict[str, TargetRun]) -> None:
    assert answers["tee"].outputs.tobytes() == answers["ree"].outputs.tobytes()


def test_it_answers_as_onnx_runtime_does(
    network: Network, answers: dict[str, TargetRun], record_property: RecordProperty
) -> None:
    outputs, reference = answers["tee"].outputs, network.reference
    difference = float(np.abs(outputs - reference).max() / max(1, np.abs(reference).max()))
    record_property("largest_difference", difference)
    assert outputs.shape == reference.shape
    assert np.array_equal(outputs.argmax(axis=1), reference.argmax(axis=1))
    assert difference < network.difference


def test_it_takes_the_secure_memory_that_was_promised(
    network: Network,
    bundle: Bundle,
    answers: dict[str, TargetRun],
    timings: Timings,
    record_property: RecordProperty,
) -> None:
    """The TA maps exactly what was promised. For code, OP-TEE takes at most that, and not much less."""
    memory = answers["tee"].memory
    peak, own = memory["secure_peak"], memory["secure_peak"] - memory["mapped_peak"]
    record_property("code_memory", own)
    timings.add(f"{network.model.name}/secure-peak", [peak], "bytes")
    assert memory["mapped_peak"] == bundle.mapped_memory
    assert bundle.code_memory - ROUNDING < own <= bundle.code_memory
    assert peak <= bundle.secure_memory <= SECURE_MEMORY
    assert sum(chunk.size for chunk in bundle.memory.chunks) > SECURE_MEMORY  # or nothing would have been streamed


@pytest.mark.parametrize("world", WORLDS)
def test_it_loads_what_inspect_says(
    network: Network, bundle: Bundle, answers: dict[str, TargetRun], timings: Timings, world: str
) -> None:
    """Each inference loads as much as `tzml inspect` says, but the first finds some chunks already loaded."""
    streaming, count = answers[world].report["streaming"], len(answers[world].seconds)
    each = bytes_loaded(bundle.program, bundle.memory)
    assert (count - 1) * each <= round(streaming["bytes"] * count) <= count * each
    name = f"{network.model.name}/{world}"
    timings.add(f"{name}/streamed", [streaming["bytes"]], "bytes")
    timings.add(f"{name}/streaming", [streaming["seconds"]])
    timings.add(f"{name}/chunk", [chunk["seconds"] / chunk["loads"] for chunk in streaming["chunks"]])


def test_times(
    network: Network, answers: dict[str, TargetRun], timings: Timings, record_property: RecordProperty
) -> None:
    """Times are recorded, not judged: the machine may be an emulator that shares its host."""
    seconds = {world: answers[world].seconds for world in WORLDS}
    for world in WORLDS:
        timings.add(f"{network.model.name}/{world}/inference", seconds[world])
    ratios = {
        "tee-to-ree": float(np.median(seconds["tee"]) / np.median(seconds["ree"])),
        "streaming-tee-to-ree": answers["tee"].report["streaming"]["seconds"]
        / answers["ree"].report["streaming"]["seconds"],
    }
    for name, ratio in ratios.items():
        record_property(name.replace("-", "_"), round(ratio, 3))
        timings.add(f"{network.model.name}/{name}", [ratio], "ratio")


def test_photographs_are_answered_with_names(
    network: Network, answers: dict[str, TargetRun], command: Commands, target: Target
) -> None:
    if not network.model.labels:
        pytest.skip("its weights are random")
    files = files_of(target)
    for photograph in network.photographs:
        files.put(str(photograph), f"{FOLDER}/{photograph.name}")
    names = [photograph.name for photograph in network.photographs]
    run = f"cd {FOLDER} && tzml run model.tzm --top 1 {' '.join(names)}"
    lines = command.run_check(run, timeout=scaled(300))
    labels = network.model.labels()
    for name, row in zip(names, network.reference, strict=True):
        assert lines[lines.index(f"{name}:") + 1].endswith(f"%  {labels[int(row.argmax())]}")
