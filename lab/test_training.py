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


class _Training:
    """Runs a script of lab/target on the target, beside the files in `folder`."""

    def __init__(self, target: Target, command: Commands, folder: Path) -> None:
        self.target, self.command, self.folder = target, command, folder

    def run(self, script: str, arguments: str, timeout: float = 300) -> dict[str, dict[str, Any]]:
        """What it printed: by world, or by program of the model."""
        (self.folder / script).write_bytes((Path(__file__).parent / "target" / script).read_bytes())
        self.command.run_check(f"rm -rf {FOLDER}")
        files_of(self.target).put(str(self.folder), FOLDER)
        line = f"cd {FOLDER} && python3 {script} {arguments}"
        (found,) = self.command.run_check(line, timeout=scaled(timeout))
        return dict(json.loads(found))

    def train(self, bundle: str, whole: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
        """What the TEE and the normal world found, which is equal but for memory and time."""
        samples, labels = KNOWN["digits"].samples
        np.savez(self.folder / "digits.npz", images=samples[:100], labels=labels[:100])
        found = self.run("train.py", f"{bundle} digits.npz {STEPS} {BATCH} {RATE} {whole}")
        tee, ree = found["tee"], found["ree"]
        for what in ("losses", "answer", "loss", "correct"):
            assert tee[what] == ree[what]
        assert tee["loss"] < tee["first"]
        assert len(set(tee["mapped"])) == 1
        assert len(set(tee["heap"])) == 1
        return tee, ree


@pytest.fixture
def trainer(target: Target, command: Commands, tmp_path: Path) -> _Training:
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    return _Training(target, command, folder)


def test_both_worlds_learn_the_same_bits_in_the_promised_memory(
    bundle: Bundle, trainer: _Training, record_property: RecordProperty
) -> None:
    bundle.write(trainer.folder / "lenet.tzm")
    tee, ree = trainer.train("lenet.tzm")
    assert len(tee["losses"]) == STEPS
    assert tee["mapped_peak"] == bundle.mapped_memory
    assert tee["secure_peak"] <= bundle.secure_memory <= 2 << 20
    record_property(f"seconds of a step of {BATCH} in the tee", tee["seconds"])
    record_property("by that in the ree", tee["seconds"] / ree["seconds"])


def test_the_last_layers_learn_in_the_tee_what_they_do_beside_the_others(
    target: Target, trainer: _Training, tmp_path: Path, record_property: RecordProperty
) -> None:
    """With layers 1 to 4 in the normal world; beside it, the whole model there, in which those are frozen."""
    (tmp_path / "lenet.onnx").write_bytes(lenet(0).onnx())
    train = TrainOptions("sgd", micro_batch=MICRO_BATCH, momentum=0.9, decay=5e-5)
    part = compile_model(tmp_path / "lenet.onnx", options_for(target, train=train, tee="5:7"))
    part.write(trainer.folder / "part.tzm")
    frozen = options_for(target, train=replace(train, freeze=("1:4",)))
    compile_model(tmp_path / "lenet.onnx", frozen).write(trainer.folder / "whole.tzm")
    tee, _ = trainer.train("part.tzm", "whole.tzm")
    assert tee["secure_peak"] <= part.secure_memory
    record_property("secure_peak of the part", tee["secure_peak"])


def test_what_is_dropped_is_another_in_each_run(target: Target, trainer: _Training, tmp_path: Path) -> None:
    """By random numbers of the world that runs it; an evaluation drops nothing."""
    (tmp_path / "dropout.onnx").write_bytes(
        dense().onnx(helper.make_node("Dropout", ["scores"], ["dropped"], "drop"), result="dropped")
    )
    train = TrainOptions("sgd", micro_batch=MICRO_BATCH)
    compile_model(tmp_path / "dropout.onnx", options_for(target, train=train)).write(trainer.folder / "dropout.tzm")
    for losses in trainer.run("dropout.py", "dropout.tzm 20", timeout=120).values():
        assert len(set(losses["evaluate"])) == 1
        assert len(set(losses["accumulate"])) > 10
