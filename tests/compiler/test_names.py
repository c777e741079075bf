"""Tensors keep the names of their model; one that a bundle cannot have is replaced, with a warning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tzml.bundle.format import MAX_NAME_SIZE
from tzml.cli.compile import command
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.planning.names import bundle_names, is_valid

# as TensorFlow names the input of a wake-word model that was ONNX before
REAL = "serving_default_onnx_tf__tf_Flatten_0_79e3d279:0"


def model(path: Path, *names: str) -> Path:
    """An ONNX file with an input and an output of these names."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8)) for name in names)
    graph = helper.make_graph([helper.make_node("Exp", [names[0]], [names[1]])], "test", [x], [y])
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString())
    return path


@pytest.mark.parametrize("name", [REAL, "n" * MAX_NAME_SIZE, "größe", "名前"])
def test_a_name_that_a_bundle_can_have_is_kept(tmp_path: Path, name: str) -> None:
    warnings: list[str] = []
    bundle = compile_model(model(tmp_path / "m.onnx", name, "y"), CompileOptions("host"), warn=warnings.append)
    assert [tensor.name for tensor in bundle.tensors] == [name, "y"]
    assert warnings == []
    assert "names" not in json.loads(bundle.notes)


@pytest.mark.parametrize("name", ["n" * (MAX_NAME_SIZE + 1), "a\x1b[31mred", "line\nbreak", "é" * MAX_NAME_SIZE])
def test_a_name_that_it_cannot_have_is_replaced_with_a_warning(tmp_path: Path, name: str) -> None:
    warnings: list[str] = []
    bundle = compile_model(model(tmp_path / "m.onnx", name, "y"), CompileOptions("host"), warn=warnings.append)
    new = bundle.tensors[0].name
    assert len(new.encode()) <= MAX_NAME_SIZE
    assert is_valid(new)
    assert json.loads(bundle.notes)["names"] == {new: name}
    (warning,) = warnings
    assert "is too long or cannot be shown: in the bundle it is" in warning
    assert is_valid(warning)


@given(st.lists(st.text(alphabet=st.characters(codec=None), max_size=8) | st.just("x" * 2000), max_size=6))
def test_names_are_valid_and_unique_whatever_a_model_has(names: list[str]) -> None:
    found = bundle_names(names)
    assert len(set(found)) == len(names)
    assert all(is_valid(name) and 0 < len(name.encode()) <= MAX_NAME_SIZE for name in found)
    kept = [name for name in dict.fromkeys(names) if is_valid(name) and 0 < len(name.encode()) <= MAX_NAME_SIZE]
    assert set(kept) <= set(found)


def test_the_identity_of_a_model_is_its_owners(tmp_path: Path) -> None:
    from click.testing import CliRunner
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from tzml.bundle import NO_IDENTITY, read
    from tzml.errors import TzmlError

    path = model(tmp_path / "model.onnx", "x", "y")
    files = {}
    for owner in ("alice", "bob"):
        key = ec.generate_private_key(ec.SECP256R1())
        files[owner] = tmp_path / f"{owner}.pem"
        files[owner].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        files[f"{owner}-public"] = tmp_path / f"{owner}.pub.pem"
        files[f"{owner}-public"].write_bytes(
            key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def compiled(*options: str | Path) -> str:
        arguments = [str(path), "--target", "host", "-o", str(tmp_path / "out.tzm"), *map(str, options)]
        done = CliRunner().invoke(command, arguments, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return str(read(tmp_path / "out.tzm").model_id)

    assert compiled() == str(NO_IDENTITY)
    alice = compiled("--owner", files["alice"])
    assert alice == compiled("--owner", files["alice-public"], "--model-version", "2")
    assert len({alice, compiled("--owner", files["bob"]), compiled("--owner", files["alice"], "--name", "b")}) == 3
    given_id = "6f1c3a52-6a57-4a35-9d3e-3b1c5f0e9a01"
    assert compiled("--model-id", given_id, "--owner", files["bob"]) == given_id

    wrong = tmp_path / "rsa.pem"
    wrong.write_bytes(
        rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    for bad, what in ((wrong, "is not a P-256 key"), (path, "is not a key in PEM format")):
        with pytest.raises(TzmlError, match=what):
            compiled("--owner", bad)
