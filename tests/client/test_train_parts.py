"""A model whose last layers are trained in the secure world, behind layers that stay as they are.

This host has no secure world: both parts run in the normal one here, and lab/test_training.py has both.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from training_networks import lenet

from tzml.bundle import Bundle, Direction, Worlds, decode
from tzml.client import RunError, Trainer, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.training import TrainOptions
from tzml.signing import load_signing_key
from tzml_zoo.digits import training_digits

MICRO_BATCH, BATCH = 5, 12
TRAIN = TrainOptions("sgd", micro_batch=MICRO_BATCH, momentum=0.9)
OPTIONS = CompileOptions("host", train=TRAIN)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "lenet.onnx"
    path.write_bytes(lenet(0).onnx())
    return path


def learned(bundle: Bundle) -> list[bytes]:
    """The bits of what three steps, an evaluation and an inference give."""
    images, labels = training_digits()
    with open_model(bundle.encode(), World.ree) as model:
        trainer = Trainer(model)
        steps = [slice(i * BATCH, (i + 1) * BATCH) for i in range(3)]
        losses = [trainer.step(images[s], labels[s], 0.05).loss for s in steps]
        found = trainer.evaluate(images[:BATCH], labels[:BATCH])
        (answer,) = model.run(images[:1], "infer").outputs.values()
    return [np.array([*losses, found.loss, found.correct], np.float64).tobytes(), answer.tobytes()]


@pytest.mark.usefixtures("libtzml")
@pytest.mark.parametrize(
    ("tee", "freeze", "frozen"),
    [("5:7", (), ("1:4",)), ("3:7", ("6", "1:2"), ("1:2", "6")), ("all", (), ())],
)
def test_the_part_learns_the_bits_of_the_whole_with_the_other_layers_frozen(
    network: Path, tee: str, freeze: tuple[str, ...], frozen: tuple[str, ...]
) -> None:
    part = replace(OPTIONS, tee=tee, everywhere=True, train=replace(TRAIN, freeze=freeze))
    bundle = compile_model(network, part)
    assert decode(bundle.encode()) == bundle
    assert learned(bundle) == learned(compile_model(network, replace(OPTIONS, train=replace(TRAIN, freeze=frozen))))


@pytest.mark.usefixtures("libtzml")
def test_clipped_gradients_of_a_part_are_those_of_the_whole(network: Path) -> None:
    train = replace(TRAIN, clip=0.5)
    part = compile_model(network, replace(OPTIONS, tee="5:7", everywhere=True, train=train))
    whole = compile_model(network, replace(OPTIONS, train=replace(train, freeze=("1:4",))))
    assert learned(part) == learned(whole)


@pytest.fixture(scope="module")
def split(network: Path, key_file: Path) -> Bundle:
    train = replace(TRAIN, clip=1.0, noise=1.0)
    options = CompileOptions("qemu", signing_key=load_signing_key(key_file), tee="5:7", train=train)
    return compile_model(network, options)


def test_nothing_crosses_to_the_normal_world_but_outputs(split: Bundle) -> None:
    """Neither activations nor gradients; the state, and the noise, are the secure world's."""
    worlds = {program.name: program.worlds for program in split.programs}
    assert list(worlds) == [
        "infer_before", "infer", "accumulate_before", "accumulate", "update", "evaluate_before", "evaluate",
    ]  # fmt: skip
    assert all(worlds[name] == (Worlds.ree if name.endswith("before") else Worlds.tee) for name in worlds)
    secure = [program for program in split.programs if program.worlds == Worlds.tee]
    given = {split.tensors[port.tensor].direction for program in secure for port in program.outputs}
    assert given == {Direction.output}
    by_world = {memory.worlds: memory for memory in split.memories}
    assert by_world[Worlds.ree].state_size == 0
    assert by_world[Worlds.tee].noise is not None
    assert all(s.worlds == Worlds.tee for s in split.sections() if s.type.name == "state")
    assert [library.ree != b"" for library in split.libraries] == [True, False]
    assert "kernels" not in json.loads(split.notes)["programs"]["accumulate"]


def test_the_layers_outside_are_stored_once(split: Bundle, network: Path) -> None:
    outside = 6 * 25 + 6 + 16 * 6 * 25 + 16
    ree = next(memory for memory in split.memories if memory.worlds == Worlds.ree)
    assert sum(chunk.size for chunk in ree.chunks) < 4 * 1.5 * outside


@pytest.mark.parametrize(
    ("tee", "message"),
    [
        ("3:5", r"layers 3 to 5 .* gradients would have to come from there; give the last layers, as in --tee 3:7"),
        ("1", "layer 1 .* would be trained in the TEE"),
        ("8", "there is no layer 8"),
    ],
)
def test_layers_behind_those_that_are_trained_are_refused(network: Path, tee: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        compile_model(network, replace(OPTIONS, tee=tee, everywhere=True))


def test_a_part_that_does_not_fit_is_refused(network: Path, key_file: Path) -> None:
    options = CompileOptions(
        "qemu", signing_key=load_signing_key(key_file), tee="5:7", train=TRAIN, secure_memory=500_000
    )
    with pytest.raises(CompileError, match="bytes of secure memory, not"):
        compile_model(network, options)


@pytest.mark.usefixtures("libtzml")
@pytest.mark.parametrize("identity", [None, UUID(int=7)], ids=["no identity", "one identity"])
@pytest.mark.parametrize("other", ["6:7", None], ids=["other partition", "whole"])
def test_a_checkpoint_is_refused_under_another_partition(
    network: Path, tmp_path: Path, other: str | None, identity: UUID | None
) -> None:
    """Also where model and version are the same, and nothing is lost by trying."""
    options = replace(OPTIONS, everywhere=True, model_id=identity)
    images, labels = training_digits()
    with open_model(compile_model(network, replace(options, tee="5:7")).encode(), World.ree) as model:
        trainer = Trainer(model)
        trainer.step(images[:BATCH], labels[:BATCH], 0.05)
        model.save(tmp_path / "part.tzs")
        expected = trainer.evaluate(images[:BATCH], labels[:BATCH])
        model.reset()
        model.restore(tmp_path / "part.tzs")
        assert trainer.evaluate(images[:BATCH], labels[:BATCH]) == expected
    with open_model(compile_model(network, replace(options, tee=other)).encode(), World.ree) as model:
        trainer = Trainer(model)
        before = trainer.evaluate(images[:BATCH], labels[:BATCH])
        with pytest.raises(RunError) as caught:
            model.restore(tmp_path / "part.tzs")
        assert caught.value.status in ("CHECKPOINT_MODEL", "CHECKPOINT_MALFORMED", "CHECKPOINT_VERSION")
        assert trainer.evaluate(images[:BATCH], labels[:BATCH]) == before
