"""A model cut into stages gives, stage by stage, the bits of the whole."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import tzml
from onnx import TensorProto, helper, numpy_helper

from tzml.client import World, open_model
from tzml.compiler import CompileOptions, compile_model, compile_stages
from tzml.compiler.ir.errors import CompileError

SHAPE = [1, 3, 8, 8]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four convolutions; a residual sum passes the second and the third."""
    numbers = np.random.default_rng(1)
    channels = [3, 8, 8, 8, 8]
    nodes, weights = [], []
    value = "x"
    for i, (into, out) in enumerate(pairwise(channels)):
        weight = numbers.standard_normal((out, into, 3, 3)).astype(np.float32) / 4
        weights.append(numpy_helper.from_array(weight, f"w{i}"))
        nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        value = f"r{i}"
        if i == 2:
            nodes.append(helper.make_node("Add", ["r2", "r0"], ["sum"], "sum"))
            value = "sum"
    made = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, 8, 8, 8])],
        weights,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("stages") / "net.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


@pytest.mark.parametrize("stages", ["1", "2", "3", "1,2:4", "conv0,conv1..conv2,conv3"])
def test_stages_give_the_bits_of_the_whole(model: Path, stages: str, libtzml: Path, tmp_path: Path) -> None:
    options = CompileOptions("host")
    value = np.random.default_rng(2).standard_normal(SHAPE).astype(np.float32)
    compile_model(model, options).write(tmp_path / "whole.tzm")
    with open_model(tmp_path / "whole.tzm", World.ree) as whole:
        expected = next(iter(whole.run(value).outputs.values()))
    bundles = compile_stages(model, options, stages)
    assert len(bundles) == (int(stages) if stages.isdecimal() else stages.count(",") + 1)
    for number, bundle in enumerate(bundles):
        bundle.write(tmp_path / f"{number}.tzm")
        assert f'"name": "net-{number}"'.encode() in bundle.metadata
        with open_model(tmp_path / f"{number}.tzm", World.ree) as part:
            value = next(iter(part.run(value).outputs.values()))
    assert value.tobytes() == expected.tobytes()


def test_a_number_balances_the_weights(model: Path) -> None:
    """216, 576, 576 and 576 numbers, and no cut within the residual block: the last one apart is best."""
    first, last = (b.memory.weights_size for b in compile_stages(model, CompileOptions("host"), "2"))
    assert first > 2 * last


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ("1,2,3:4", "passes by"),
        ("1:2,4", "do not take each of the 4 layers once"),
        ("2:4", "do not take each of the 4 layers once"),
        ("3:4,1:2", "do not take each of the 4 layers once"),
        ("1:9", "there is no layer 9"),
        ("0", "0 is no number of stages"),
        ("4", r"can be cut at 2 place\(s\) where one value crosses, not at 3"),
    ],
)
def test_what_cannot_be_stages_is_said(model: Path, stages: str, says: str) -> None:
    with pytest.raises(CompileError, match=says):
        compile_stages(model, CompileOptions("host"), stages)


def test_what_does_not_go_with_stages_is_said(model: Path) -> None:
    with pytest.raises(CompileError, match="cannot be trained or partitioned"):
        compile_stages(model, CompileOptions("host", tee="1"), "2")


def test_the_command_writes_a_bundle_for_each(model: Path, tmp_path: Path) -> None:
    done = tzml("compile", model, "--target", "host", "--stages", "2", "-o", tmp_path / "net.tzm", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [Path(row["file"]).name for row in told] == ["net-0.tzm", "net-1.tzm"]
    assert [(tmp_path / f"net-{i}.tzm").stat().st_size for i in range(2)] == [row["bytes"] for row in told]
    for more in (["--tee", "1"], ["--graph-only"], ["--train", "sgd"]):
        done = tzml("compile", model, "--target", "host", "--stages", "2", *more)
        assert done.returncode == 2
        assert "--stages does not go with" in done.stderr
