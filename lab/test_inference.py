"""Every model of the image, in both worlds, on data that it was not trained on."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from labgrid import Target

from tzml.boards import memory_warning
from tzml.protection import CLEAR_WARNING
from tzml_lab.environment import image_of
from tzml_lab.faults import RecordProperty
from tzml_lab.inference import WORLDS
from tzml_lab.inference.answers import TargetRun, ask, ask_in_c, promised
from tzml_lab.inference.known_models import KNOWN, TARGET_FOLDER, KnownModel
from tzml_lab.results.timings import Timings
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

# samples that tzml-run gets, which opens the model anew for each
WITHOUT_PYTHON = 16


def test_the_image_has_the_known_models(command: Commands) -> None:
    installed = command.run_check(f"ls -1 {TARGET_FOLDER}/*.tzm")
    assert set(KNOWN) <= {PurePosixPath(line).stem for line in installed}


@pytest.fixture(scope="module", params=KNOWN.values(), ids=list(KNOWN))
def model(request: pytest.FixtureRequest) -> KnownModel:
    model: KnownModel = request.param
    return model


@pytest.fixture(scope="module")
def answers(
    model: KnownModel, command: Commands, target: Target, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, TargetRun]:
    """The model's answers to all samples, in both worlds."""
    files = files_of(target)
    folder = tmp_path_factory.mktemp(model.name)
    bundle = f"{TARGET_FOLDER}/{model.name}.tzm"
    if not image_of(target.env.config).description.features.python:
        few, like = model.samples[0][:WITHOUT_PYTHON], model.reference
        return {world: ask_in_c(target, bundle, few, like, world, folder) for world in WORLDS}
    np.save(folder / "inputs.npy", model.samples[0])
    files.put(str(folder / "inputs.npy"), "/tmp/inputs.npy")
    return {world: ask(target, bundle, "/tmp/inputs.npy", world, folder, timeout=300) for world in WORLDS}


@pytest.mark.lg_feature("python")
@pytest.mark.parametrize("world", WORLDS)
def test_it_is_as_good_as_it_was_trained_to_be(
    model: KnownModel, answers: dict[str, TargetRun], world: str, record_property: RecordProperty
) -> None:
    _, classes = model.samples
    accuracy = float(np.mean(answers[world].outputs.argmax(axis=1) == classes))
    record_property("accuracy", accuracy)
    assert accuracy >= model.accuracy


@pytest.mark.parametrize("world", WORLDS)
def test_it_answers_as_another_runtime_does(
    model: KnownModel, answers: dict[str, TargetRun], world: str, record_property: RecordProperty
) -> None:
    outputs = answers[world].outputs
    reference = model.reference[: len(outputs)]
    difference = model.difference(outputs)
    record_property("compared_with", model.runtime)
    record_property("largest_difference", difference)
    assert len(outputs) in (len(model.reference), WITHOUT_PYTHON)
    assert outputs.shape == reference.shape
    assert np.array_equal(outputs.argmax(axis=1), reference.argmax(axis=1))
    assert difference < model.tolerance


def test_both_worlds_agree_to_the_bit(answers: dict[str, TargetRun]) -> None:
    assert answers["tee"].outputs.tobytes() == answers["ree"].outputs.tobytes()


@pytest.mark.lg_feature("python")
@pytest.mark.parametrize("world", WORLDS)
def test_a_tvm_program_gets_the_same_answers(
    model: KnownModel, answers: dict[str, TargetRun], command: Commands, target: Target, tmp_path: Path, world: str
) -> None:
    files = files_of(target)
    files.put(str(Path(__file__).parent / "target" / "tvm_program.py"), "/tmp/tvm_program.py")
    bundle, output = f"{TARGET_FOLDER}/{model.name}.tzm", f"/tmp/tvm-{world}.npy"
    program = f"python3 /tmp/tvm_program.py {world} {bundle} /tmp/inputs.npy {output}"
    assert command.run_check(program, timeout=scaled(300)) == ["Function Tensor"]
    files.get(output, str(tmp_path))
    assert np.load(tmp_path / f"tvm-{world}.npy").tobytes() == answers[world].outputs.tobytes()


def test_times(
    model: KnownModel, answers: dict[str, TargetRun], timings: Timings, record_property: RecordProperty
) -> None:
    """Times are recorded, not judged: the machine may be an emulator that shares its host."""
    for world in WORLDS:
        seconds = answers[world].seconds
        assert len(seconds) == len(answers[world].outputs)
        timings.add(f"{model.name}/{world}/inference", seconds)
    ratio = float(np.median(answers["tee"].seconds) / np.median(answers["ree"].seconds))
    record_property("tee_to_ree", round(ratio, 3))
    timings.add(f"{model.name}/tee-to-ree", [ratio], "ratio")


@pytest.mark.lg_feature("python")
def test_secure_memory(
    model: KnownModel,
    answers: dict[str, TargetRun],
    command: Commands,
    timings: Timings,
    record_property: RecordProperty,
) -> None:
    """The TA maps exactly what the compiler promised, to the byte. The rest is at most what it promised."""
    memory, promise = answers["tee"].memory, promised(command, f"{TARGET_FOLDER}/{model.name}.tzm")
    assert memory["mapped_peak"] == promise["mapped_memory"]
    assert memory["mapped_peak"] < memory["secure_peak"] <= promise["secure_memory"] <= memory["pool_size"]
    assert answers["ree"].memory["secure_peak"] == 0
    record_property("secure_peak", memory["secure_peak"])
    timings.add(f"{model.name}/secure-peak", [memory["secure_peak"]], "bytes")


@pytest.mark.lg_feature("python")
def test_where_nothing_is_secret_it_is_said(
    model: KnownModel, answers: dict[str, TargetRun], command: Commands, target: Target
) -> None:
    """A person is told on standard error, a program in the report, and only when the TEE is used."""
    image = image_of(target.env.config).description
    about_memory = memory_warning(image.machine, image.secure_memory.protected)
    expected = " ".join(filter(None, [about_memory, CLEAR_WARNING]))
    assert answers["tee"].report["warning"] == expected
    assert answers["ree"].report["warning"] == ""
    for world, warning in (("tee", expected), ("ree", "")):
        run = f"tzml run {TARGET_FOLDER}/{model.name}.tzm --input /tmp/inputs.npy --world {world}"
        said = command.run_check(f"{run} 2>&1 >/dev/null", timeout=scaled(300))
        assert said == ([f"warning: {warning}"] if warning else [])


@pytest.mark.lg_feature("python")
def test_memory_returns_when_the_model_is_closed(
    model: KnownModel, answers: dict[str, TargetRun], command: Commands
) -> None:
    one = "python3 -c \"import numpy; numpy.save('/tmp/one', numpy.load('/tmp/inputs.npy')[:1])\""
    command.run_check(one, timeout=scaled(60))
    run = f"tzml run {TARGET_FOLDER}/{model.name}.tzm --input /tmp/one.npy --world tee --json"
    again = json.loads("".join(command.run_check(run, timeout=scaled(60))))["memory"]
    assert again["pool_before"] == answers["tee"].memory["pool_before"]
