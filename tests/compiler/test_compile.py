"""A trained network compiles to a bundle that answers as ONNX Runtime does, or is refused in one line."""

from __future__ import annotations

import hashlib
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from onnx import TensorProto, helper, numpy_helper

from tzml.bundle import Bundle, Library, Target
from tzml.bundle.identity import digest_uuid
from tzml.bundle.streaming import bytes_loaded
from tzml.client import World, open_model
from tzml.compiler import CompileOptions, InputSpec, compile_model
from tzml.compiler.codegen.kernels import functions
from tzml.compiler.ir.errors import CompileError
from tzml.errors import TzmlError
from tzml.signing import load_signing_key
from tzml_zoo.digits import ONNX, held_out_digits


@pytest.fixture(scope="module")
def signed(key_file: Path) -> Bundle:
    return compile_model(ONNX, CompileOptions("qemu", load_signing_key(key_file)))


def test_the_answers_are_onnx_runtimes(digits_for_host: Path, libtzml: Path) -> None:
    images, labels = held_out_digits()
    reference = onnxruntime.InferenceSession(str(ONNX))
    with open_model(digits_for_host, World.ree) as model:
        ours = np.concatenate([model.run(image[None]).outputs["probabilities"] for image in images])
    theirs = np.concatenate([reference.run(None, {"image": image[None]})[0] for image in images])
    assert np.abs(ours - theirs).max() < 1e-4
    assert (ours.argmax(1) == theirs.argmax(1)).all()
    assert np.mean(ours.argmax(1) == labels) >= 0.97


@pytest.mark.parametrize("budget", [270, 262, 100], ids="{} KiB".format)
def test_streamed_weights_give_the_same_bits(
    budget: int, digits_for_host: Path, tmp_path: Path, libtzml: Path
) -> None:
    bundle = compile_model(ONNX, CompileOptions("host", secure_memory=budget << 10))
    bundle.write(tmp_path / "streamed.tzm")
    assert bundle.secure_memory <= budget << 10
    assert len(bundle.chunks) > 1
    image = held_out_digits()[0][:1]
    with (
        open_model(digits_for_host, World.ree) as resident,
        open_model(tmp_path / "streamed.tzm", World.ree) as model,
    ):
        for _ in range(3):
            assert (model.run(image).outputs["probabilities"] == resident.run(image).outputs["probabilities"]).all()
        assert model.memory().weights < resident.memory().weights
        assert all(chunk.loads == 1 for chunk in resident.chunks())
        before = model.chunks()
        model.run(image)
        loaded = [new.size * (new.loads - old.loads) for old, new in zip(before, model.chunks(), strict=True)]
        assert sum(loaded) == bytes_loaded(bundle.program, bundle.memory) > 0


def test_a_model_that_cannot_fit_says_what_takes_the_room() -> None:
    message = (
        r"takes \d+,\d+ bytes of secure memory, not 51,200: \d+,\d+ for activations, \d+,\d+ of them in call \d+, "
        r"\w+ [\dx]+; \d+,\d+ for the weights of call \d+, "
    )
    with pytest.raises(CompileError, match=message):
        compile_model(ONNX, CompileOptions("host", secure_memory=50 << 10))


def test_the_same_model_and_key_give_the_same_bytes(signed: Bundle, key_file: Path) -> None:
    again = compile_model(ONNX, CompileOptions("qemu", load_signing_key(key_file)))
    assert again.encode() == signed.encode()


def test_the_library_is_signed_as_op_tee_wants_it(signed: Bundle, key_file: Path) -> None:
    image, key = signed.libraries[0].tee, load_signing_key(key_file)
    magic, kind, size, _, hash_size, signature_size = struct.unpack_from("<IIIIHH", image)
    assert (magic, kind, hash_size, signature_size) == (0x4F545348, 1, 32, 256)
    digest, signature = image[20:52], image[52:308]
    identity, elf = image[308:328], image[328:]
    assert identity == digest_uuid(signed.program.kernels_digest).bytes + bytes(4)
    assert len(elf) == size
    assert digest == hashlib.sha256(image[:20] + identity + elf).digest()
    # verify hashes what it is given: the digest covers exactly these bytes
    key.public_key().verify(signature, image[:20] + identity + elf, padding.PKCS1v15(), hashes.SHA256())


def test_a_library_needs_no_relocation_and_nothing_from_outside(signed: Bundle, tmp_path: Path) -> None:
    for name, elf in (("tee", signed.libraries[0].tee[328:]), ("ree", signed.libraries[0].ree)):
        path = tmp_path / name
        path.write_bytes(elf)
        shown = subprocess.run(
            ["aarch64-linux-gnu-readelf", "-rdWl", "--dyn-syms", path], capture_output=True, text=True, check=True
        ).stdout
        assert "There are no relocations" in shown
        assert "NEEDED" not in shown
        assert "RWE" not in shown
        assert not [line for line in shown.splitlines() if " UND " in line and "GLOBAL" in line]


def test_without_a_key_the_bundle_is_for_the_normal_world() -> None:
    bundle = compile_model(ONNX, CompileOptions("qemu"))
    assert bundle.target == Target.aarch64
    assert not bundle.libraries[0].tee
    assert bundle.libraries[0].ree


def test_the_promised_secure_memory_counts_pages(signed: Bundle) -> None:
    plain = replace(signed, libraries=(Library(),))
    pages = [-(-size // 4096) for size in (signed.memory.arena_size, signed.memory.weights_size)]
    assert plain.mapped_memory == 4096 * (1 + 1 + sum(pages))  # header, tables, arena, weights
    assert signed.secure_memory == plain.secure_memory == signed.mapped_memory + signed.code_memory


def model(*nodes: onnx.NodeProto, shape: tuple[int | str, ...] = (1, 8), **constants: Any) -> bytes:
    """An ONNX file from `x` to `y`."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return bytes(made.SerializeToString())


def compile_bytes(folder: Path, data: bytes, **shapes: tuple[int, ...]) -> Bundle:
    path = folder / "model.onnx"
    path.write_bytes(data)
    return compile_model(path, CompileOptions("host", inputs={n: InputSpec(s) for n, s in shapes.items()}))


@pytest.mark.parametrize("op", ["Exp", "Log", "Tanh", "Erf", "Sigmoid", "Softmax", "Sqrt", "Floor", "Gelu"])
def test_functions_of_one_number_agree_with_onnx_runtime(op: str, tmp_path: Path, libtzml: Path) -> None:
    data = model(helper.make_node(op, ["x"], ["y"]))
    x = np.linspace(0.1, 6, 8, dtype=np.float32)[None]
    compile_bytes(tmp_path, data).write(tmp_path / "model.tzm")
    with open_model(tmp_path / "model.tzm", World.ree) as opened:
        ours = opened.run(x).outputs["y"]
    theirs = onnxruntime.InferenceSession(data).run(None, {"x": x})[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_open_dimensions_are_fixed_by_the_user(tmp_path: Path, libtzml: Path) -> None:
    data = model(helper.make_node("Relu", ["x"], ["y"]), shape=("batch", 4))
    with pytest.raises(CompileError, match=r"input x has open dimensions: \['batch', 4\]; give --input x=1x4"):
        compile_bytes(tmp_path, data)
    bundle = compile_bytes(tmp_path, data, x=(2, 4))
    assert bundle.inputs()[0].shape == (2, 4)
    with pytest.raises(CompileError, match=r"not \[2, 5\]"):
        compile_bytes(tmp_path, data, x=(2, 5))
    with pytest.raises(CompileError, match="the model has no input z; it has x"):
        compile_bytes(tmp_path, data, x=(2, 4), z=(1,))


def test_a_function_that_the_tee_does_not_have_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody sees who adds an operator and forgets its function."""
    monkeypatch.setenv("TZML_CACHE", str(tmp_path / "cache"))  # no other compiler has such a kernel
    monkeypatch.setitem(functions.OF_FLOAT64, "sin", "sin")
    nodes = [
        helper.make_node("Cast", ["x"], ["d"], to=11),
        helper.make_node("Sin", ["d"], ["e"]),
        helper.make_node("Cast", ["e"], ["y"], to=1),
    ]
    with pytest.raises(CompileError, match=r"the kernels call sin, which the TEE does not have; .*support/math\.c"):
        compile_bytes(tmp_path, model(*nodes))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "model.onnx is empty; give the file of a trained model"),
        (b"not a model at all", "is no model file that tzml knows"),
        (ONNX.read_bytes()[:1000], "is not a valid ONNX file"),
        (model(helper.make_node("Relu", ["nothing"], ["y"])), "is not a valid ONNX file"),
        (
            model(
                helper.make_node("Cast", ["x"], ["d"], to=11),
                helper.make_node("Sin", ["d"], ["e"]),
                helper.make_node("Cast", ["e"], ["y"], to=1),
            ),
            "computes sin of float64, for which there is no function; export the layer in float32",
        ),
        (
            model(helper.make_node("StringNormalizer", ["x"], ["y"])),
            r"no support for the operator StringNormalizer \(layer y\); do text processing outside",
        ),
        (model(helper.make_node("Shape", ["x"], ["y"])), "output y does not depend on the network's inputs"),
    ],
    ids=["empty", "text", "truncated", "dangling", "float64", "strings", "constant"],
)
def test_what_cannot_be_compiled_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        compile_bytes(tmp_path, data)


def test_a_signing_key_must_be_one(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    with pytest.raises(TzmlError, match="cannot read the signing key"):
        load_signing_key(path)
    path.write_text("no key")
    with pytest.raises(TzmlError, match="is not a private key in PEM format"):
        load_signing_key(path)


def test_a_failed_write_leaves_no_file(signed: Bundle, tmp_path: Path) -> None:
    with pytest.raises(TzmlError, match="cannot write"):
        signed.write(tmp_path / "missing" / "model.tzm")
    assert list(tmp_path.iterdir()) == []
