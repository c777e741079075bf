"""A model learns in the TEE what it learns in the normal world, to the bit, in memory that does not grow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labgrid import Target
from onnx import helper
from training_networks import dense, lenet

from tzml.bundle import Bundle
from tzml.compiler import compile_model
from tzml.compiler.passes.training import TrainOptions
from tzml_lab.faults import RecordProperty
from tzml_lab.inference.compiling import options_for
from tzml_lab.inference.known_models import KNOWN
from tzml_lab.target import Commands, files_of
from tzml_lab.time_limits import scaled

pytestmark = pytest.mark.lg_feature("python")

FOLDER = "/tmp/training"  # on the target
STEPS, BATCH, MICRO_BATCH, RATE = 8, 23, 8, 0.05


@pytest.fixture(scope="module")
def bundle(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """LeNet-5 with random numbers, in at most 2 MiB of secure memory."""
    path = tmp_path_factory.mktemp("training") / "lenet.onnx"
    path.write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=MICRO_BATCH, momentum=0.9, decay=5e-5)
    return compile_model(path, options_for(target, train=train, secure_memory=2 << 20))


def test_both_worlds_learn_the_same_bits_in_the_promised_memory(
    bundle: Bundle, target: Target, command: Commands, tmp_path: Path, record_property: RecordProperty
) -> None:
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    bundle.write(folder / "lenet.tzm")
    samples, labels = KNOWN["digits"].samples
    np.savez(folder / "digits.npz", images=samples[:100], labels=labels[:100])
    (folder / "train.py").write_bytes((Path(__file__).parent / "target" / "train.py").read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    arguments = f"{FOLDER}/lenet.tzm {FOLDER}/digits.npz {STEPS} {BATCH} {RATE}"
    (line,) = command.run_check(f"python3 {FOLDER}/train.py {arguments}", timeout=scaled(300))
    found: dict[str, dict[str, Any]] = json.loads(line)
    tee, ree = found["tee"], found["ree"]
    assert len(tee["losses"]) == STEPS
    for what in ("losses", "answer", "loss", "correct"):
        assert tee[what] == ree[what]
    assert tee["loss"] < tee["first"]
    assert len(set(tee["mapped"])) == 1
    assert len(set(tee["heap"])) == 1
    assert tee["mapped_peak"] == bundle.mapped_memory
    assert tee["secure_peak"] <= bundle.secure_memory <= 2 << 20
    record_property(f"seconds of a step of {BATCH} in the tee", tee["seconds"])
    record_property("by that in the ree", tee["seconds"] / ree["seconds"])


def test_the_last_layers_learn_in_the_tee_what_they_do_beside_the_others(
    target: Target, command: Commands, tmp_path: Path, record_property: RecordProperty
) -> None:
    """With layers 1 to 4 in the normal world; beside it, the whole model there, in which those are frozen."""
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    (tmp_path / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=MICRO_BATCH, momentum=0.9, decay=5e-5)
    part = compile_model(tmp_path / "lenet.onnx", options_for(target, train=train, tee="5:7"))
    part.write(folder / "part.tzm")
    frozen = options_for(target, train=replace(train, freeze=("1:4",)))
    compile_model(tmp_path / "lenet.onnx", frozen).write(folder / "whole.tzm")
    samples, labels = KNOWN["digits"].samples
    np.savez(folder / "digits.npz", images=samples[:100], labels=labels[:100])
    (folder / "train.py").write_bytes((Path(__file__).parent / "target" / "train.py").read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    arguments = f"{FOLDER}/part.tzm {FOLDER}/digits.npz {STEPS} {BATCH} {RATE} {FOLDER}/whole.tzm"
    (line,) = command.run_check(f"python3 {FOLDER}/train.py {arguments}", timeout=scaled(300))
    found: dict[str, dict[str, Any]] = json.loads(line)
    tee, ree = found["tee"], found["ree"]
    for what in ("losses", "answer", "loss", "correct"):
        assert tee[what] == ree[what]
    assert tee["loss"] < tee["first"]
    assert len(set(tee["mapped"])) == 1
    assert len(set(tee["heap"])) == 1
    assert tee["secure_peak"] <= part.secure_memory
    record_property("secure_peak of the part", tee["secure_peak"])


def test_what_is_dropped_is_another_in_each_run(target: Target, command: Commands, tmp_path: Path) -> None:
    """By random numbers of the world that runs it; an evaluation drops nothing."""
    (tmp_path / "dropout.onnx").write_bytes(
        dense().onnx(helper.make_node("Dropout", ["scores"], ["dropped"], "drop"), result="dropped")
    )
    train = TrainOptions("sgd", micro_batch=MICRO_BATCH)
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    compile_model(tmp_path / "dropout.onnx", options_for(target, train=train)).write(folder / "dropout.tzm")
    (folder / "dropout.py").write_bytes((Path(__file__).parent / "target" / "dropout.py").read_bytes())
    command.run_check(f"rm -rf {FOLDER}")
    files_of(target).put(str(folder), FOLDER)
    (line,) = command.run_check(f"python3 {FOLDER}/dropout.py {FOLDER}/dropout.tzm 20", timeout=scaled(120))
    for losses in json.loads(line).values():
        assert len(set(losses["evaluate"])) == 1
        assert len(set(losses["accumulate"])) > 10
