"""A network in several programs gives the same bits as the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tzml.bundle import BOTH, Worlds, read
from tzml.client import RunError, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml_lab.inference.parts import Part, compile_parts
from tzml_zoo.digits import ONNX, held_out_digits

CUTS = ("image", "relu", "view", "relu_2", "probabilities")


def parts(*worlds: Worlds) -> list[Part]:
    return [Part(begin, end, w) for begin, end, w in zip(CUTS, CUTS[1:], worlds, strict=False)]


def test_programs_that_follow_each_other_give_the_bits_of_the_whole(
    digits_for_host: Path, libtzml: Path, tmp_path: Path
) -> None:
    bundle = compile_parts(ONNX, parts(BOTH, BOTH, BOTH, BOTH), CompileOptions("host"), tmp_path)
    bundle.write(tmp_path / "parts.tzm")
    assert read(tmp_path / "parts.tzm") == bundle
    assert [t.name for t in bundle.tensors if t.direction.name == "between"] == list(CUTS[1:-1])
    image = held_out_digits()[0][:1]
    with open_model(digits_for_host, World.ree) as whole, open_model(tmp_path / "parts.tzm", World.ree) as model:
        assert [program.name for program in model.programs] == ["part0", "part1", "part2", "part3"]
        assert [(i.name, o.name) for i, o in zip(model.inputs, model.outputs, strict=True)] == [(CUTS[0], CUTS[-1])]
        for _ in range(2):
            [(name, found)] = model.run(image).outputs.items()
            np.testing.assert_array_equal(found, whole.run(image).outputs[name])


def test_a_part_for_the_secure_world_does_not_run_in_the_normal_world(libtzml: Path, tmp_path: Path) -> None:
    compiled = compile_parts(
        ONNX, parts(Worlds.ree, Worlds.tee, Worlds.ree, Worlds.ree), CompileOptions("host"), tmp_path
    )
    compiled.write(tmp_path / "parts.tzm")
    with pytest.raises(RunError, match="program part1 runs only in the other world") as caught:
        open_model(tmp_path / "parts.tzm", World.ree)
    assert caught.value.status == "PROGRAM"


def test_a_normal_world_part_brings_nothing_of_the_secure_ones_but_tensors(tmp_path: Path) -> None:
    """Its memory, its library and its weights are its own."""
    bundle = compile_parts(ONNX, parts(Worlds.ree, Worlds.tee), CompileOptions("host"), tmp_path)
    whole = compile_model(ONNX, CompileOptions("host"))
    assert [memory.worlds for memory in bundle.memories] == [Worlds.ree, Worlds.tee]
    assert len(bundle.libraries) == 2
    assert sum(len(c) for c in bundle.chunks) < sum(len(c) for c in whole.chunks)
    assert {s.worlds for s in bundle.sections() if s.type.name in ("weights", "plan", "memory")} == {
        Worlds.ree,
        Worlds.tee,
    }
