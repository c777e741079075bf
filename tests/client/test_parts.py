"""A model of which some layers run in the secure world: its bundle, and that it gives the bits of the whole.

This host has no secure world: each part runs in the normal one here, and lab/test_parts.py has both.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from tzml.bundle import Bundle, Worlds, decode
from tzml.cli import inspect
from tzml.client import RunError, World, open_model
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.compile import layers_of
from tzml.compiler.ir.errors import CompileError
from tzml.signing import load_signing_key
from tzml_zoo.digits import INT8_ONNX, ONNX, TFLITE, held_out_digits

ANYWHERE = CompileOptions("host", everywhere=True)
BITS = [(ONNX, "3"), (ONNX, "middle"), (INT8_ONNX, "3:5"), (TFLITE["digits_int8"], "2..6")]


@pytest.mark.usefixtures("libtzml")
@pytest.mark.parametrize(("file", "text"), BITS, ids=[f"{file.name}-{text}" for file, text in BITS])
def test_parts_give_the_bits_of_the_whole(file: Path, text: str) -> None:
    whole, parts = compile_model(file, ANYWHERE), compile_model(file, replace(ANYWHERE, tee=text))
    image = held_out_digits()[0][:1]
    assert decode(parts.encode()) == parts
    with open_model(whole.encode(), World.ree) as one, open_model(parts.encode(), World.ree) as several:
        assert several.inputs == one.inputs
        assert several.outputs == one.outputs
        given = {one.inputs[0].name: image.reshape(one.inputs[0].shape).astype(one.inputs[0].dtype)}
        for _ in range(2):
            found, expected = several.run(given).outputs, one.run(given).outputs
            assert {name: a.tobytes() for name, a in found.items()} == {n: a.tobytes() for n, a in expected.items()}
        use = several.program_use()
        assert [u.runs for u in use] == [2] * len(parts.programs)
        assert all(u.seconds > 0 for u in use)
        assert [before.output_size for before in use[:-1]] == [behind.input_size for behind in use[1:]]
        assert (use[0].input_size, use[-1].output_size) == (one.inputs[0].size, one.outputs[0].size)


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def split(key_file: Path, told: list[str]) -> Bundle:
    """The digits network with its two convolutions and what is between them in the TEE."""
    options = CompileOptions("qemu", signing_key=load_signing_key(key_file), tee="1:3")
    return compile_model(ONNX, options, warn=told.append)


def words(bundle: Bundle, worlds: Worlds) -> set[int]:
    """The numbers of four bytes in the weights that are for these worlds only."""
    own = [s.content.tobytes() for s in bundle.sections() if s.type.name == "weights" and s.worlds == worlds]
    return set(np.frombuffer(b"".join(own), np.uint32).tolist())


def test_the_normal_world_gets_nothing_of_the_secure_layers(split: Bundle) -> None:
    model = onnx.load(ONNX)
    open_ = b"".join(s.content.tobytes() for s in split.sections() if s.worlds & Worlds.ree)
    inside = {name for layer in layers_of(ONNX)[:3] for name in layer.names}
    nodes = [node for node in model.graph.node if node.name in inside]
    assert len(nodes) == 5
    assert not any(f"{node.name}\0".encode() in open_ for node in nodes)
    assert "conv" not in json.dumps(json.loads(split.notes)["programs"])
    assert [t.name for t in split.tensors] == ["image", "between_1", "probabilities"]
    taken = {name for node in nodes for name in node.input}
    weights = [onnx.numpy_helper.to_array(t) for t in model.graph.initializer if t.name in taken]
    secret = set(np.concatenate([w.ravel() for w in weights]).view(np.uint32).tolist())
    assert len(secret) > 2000
    assert secret <= words(split, Worlds.tee)
    assert not secret & words(split, Worlds.ree)
    assert [library.ree != b"" for library in split.libraries] == [False, True]
    assert [library.tee != b"" for library in split.libraries] == [True, False]


def test_each_part_has_memory_of_its_own_and_only_the_secure_one_a_limit(split: Bundle, key_file: Path) -> None:
    assert [memory.worlds for memory in split.memories] == [Worlds.tee, Worlds.ree]
    assert len({program.kernels_digest for program in split.programs}) == 2
    whole = compile_model(ONNX, CompileOptions("qemu", signing_key=load_signing_key(key_file)))
    assert split.secure_memory < whole.secure_memory
    with pytest.raises(CompileError, match="bytes of secure memory, not"):
        compile_model(
            ONNX, CompileOptions("qemu", signing_key=load_signing_key(key_file), tee="5", secure_memory=299000)
        )


def test_a_result_that_crosses_in_the_clear_is_warned_of(split: Bundle, told: list[str]) -> None:
    [warning] = told
    assert "layers 1 to 3 (node_conv2d to node_conv2d_1) crosses to the normal world in the clear" in warning
    silent: list[str] = []
    compile_model(ONNX, replace(ANYWHERE, tee="last"), warn=silent.append)
    assert silent == []


def test_a_part_for_the_secure_world_does_not_run_in_the_normal_world(split: Bundle, libtzml: Path) -> None:
    with pytest.raises(RunError) as caught:
        open_model(replace(split, target=compile_model(ONNX, ANYWHERE).target).encode(), World.ree)
    assert caught.value.status in ("PROGRAM", "KERNELS_REFUSED")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4:9", "there is no layer 9; the layers are 1 node_conv2d, 2 node_max_pool2d"),
        ("0:3", "there is no layer 0"),
        ("5:3", "layer 3 comes before layer 5"),
        ("conv9..3", "there is no layer 'conv9'"),
        ("1,3", "only layers that follow each other"),
        ("1..3..5", "only layers that follow each other"),
    ],
)
def test_a_range_that_does_not_exist_is_refused_with_the_list(text: str, message: str) -> None:
    from tzml.compiler.passes.layer_range import parse_range

    with pytest.raises(CompileError, match="give a range as 4:10") as caught:
        parse_range(text, layers_of(ONNX))
    assert message in str(caught.value)


def test_layers_are_listed_with_the_names_of_the_file() -> None:
    listed = CliRunner().invoke(inspect.command, [str(ONNX), "--layers", "--json"])
    layers = json.loads(listed.output)["layers"]
    assert [layer["number"] for layer in layers] == list(range(1, 9))
    names = {node.name: node.op_type for node in onnx.load(ONNX).graph.node}
    assert all(names[layer["name"]] == layer["operator"] for layer in layers)
    assert [name for layer in layers for name in layer["names"]] == list(names)
    assert layers[0]["shape"] == [1, 6, 28, 28]
    assert layers[0]["weights"] == 4 * (6 * 25 + 6)


def test_ranges_go_by_numbers_by_names_and_by_words() -> None:
    from tzml.compiler.passes.layer_range import parse_range

    layers = layers_of(ONNX)
    said = ["3", "3:5", "3..5", "node_conv2d_1..node_linear", "node_relu_1..5", "first", "middle", "last", "all"]
    found = [(found.start + 1, found.stop) for found in (parse_range(text, layers) for text in said)]
    assert found == [(3, 3), *[(3, 5)] * 4, (1, 2), (3, 6), (7, 8), (1, 8)]


def test_the_tee_takes_a_target_that_has_one_and_a_key() -> None:
    with pytest.raises(CompileError, match="the target host has no secure world"):
        compile_model(ONNX, CompileOptions("host", tee="all"))
    with pytest.raises(CompileError, match="--sign-key"):
        compile_model(ONNX, CompileOptions("qemu", tee="all"))
