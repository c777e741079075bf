"""What is readable of a sealed model: its inputs and outputs as the owner names them, and no other name."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from onnx import TensorProto, helper, numpy_helper

from tzml.cli import tzml as command
from tzml.errors import TzmlError

NAMES = ("layer_of_the_secret_design", "second_secret_layer", "secret_weights", "secret_input", "secret_output")
LABELS = ("a secret label", "another secret label")
WEIGHTS = np.random.default_rng(3).standard_normal((8, 2)).astype(np.float32)


def tzml(*arguments: str | Path) -> Result:
    done = CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def pem(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Path:
    form = serialization.PrivateFormat.PKCS8
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    path.chmod(0o600)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its labels, an owner's key and one of whoever builds images."""
    folder = tmp_path_factory.mktemp("names")
    layer, second, weights, x, y = NAMES
    nodes = [
        helper.make_node("MatMul", [x, weights], [f"{layer}_result"], layer),
        helper.make_node("Softmax", [f"{layer}_result"], [y], second),
    ]
    ports = [[helper.make_tensor_value_info(n, TensorProto.FLOAT, s)] for n, s in ((x, (1, 8)), (y, (1, 2)))]
    graph = helper.make_graph(nodes, "secret graph", *ports, [numpy_helper.from_array(WEIGHTS, weights)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    pem(folder / "owner.pem", ec.generate_private_key(ec.SECP256R1()))
    pem(folder / "builder.pem", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return folder


def compile_options(folder: Path) -> list[str | Path]:
    return ["compile", folder / "model.onnx", "--target", "qemu"]


@pytest.fixture(scope="module")
def sealed(folder: Path) -> Path:
    """The model, sealed by an owner who has no key to sign code with."""
    tzml(*compile_options(folder), "--graph-only")
    tzml("sign-kernels", folder / "model.graph.json", "--sign-key", folder / "builder.pem")
    tzml(*compile_options(folder), "--kernels", folder / "model.kernels", "--labels", folder / "labels.txt",
         "--owner", folder / "owner.pem", "--rename", "secret_input=x", "--rename", "secret_output=y")  # fmt: skip
    tzml("seal", folder / "model.tzm", "--owner", folder / "owner.pem")
    return folder / "model.sealed.tzm"


def test_the_owner_needs_no_key_to_sign_code_and_the_signer_no_weights(folder: Path, sealed: Path) -> None:
    structure = (folder / "model.graph.json").read_text()
    assert sealed.exists()
    assert {constant["filled"] for constant in json.loads(structure)["constants"]} <= {0, 1}
    assert not any(name in structure for name in (*NAMES[:3], *LABELS, "model.onnx"))
    assert json.loads(structure)["outputs"] == ["secret_output"]


def test_names_of_layers_and_the_source_are_not_in_the_sealed_file(folder: Path, sealed: Path) -> None:
    clear, data = (folder / "model.tzm").read_bytes(), sealed.read_bytes()
    digest = hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    for text in (
        "matmul",
        "softmax",
        "model.onnx",
        digest,
        "arena",
        *LABELS,
    ):  # where it is in the clear, it is found
        assert text.encode() in clear, text
        assert text.encode() not in data, text
    assert not any(name.encode() in data for name in NAMES)
    assert WEIGHTS[0].tobytes() in clear
    assert WEIGHTS[0].tobytes() not in data


def test_inspect_without_a_key_shows_only_what_is_public(sealed: Path) -> None:
    about = json.loads(tzml("inspect", sealed, "--json").stdout)
    assert [(t["name"], t["dtype"], t["shape"]) for t in about["tensors"]] == [
        ("x", "float32", [1, 8]),
        ("y", "float32", [1, 2]),
    ]
    assert set(about) <= {
        "sealed", "owner", "model_id", "model_version", "target", "tensors", "programs", "metadata",
        "secure_memory", "code_memory", "sections",
    }  # fmt: skip
    assert "labels" not in about.get("metadata", {})
    shown = tzml("inspect", sealed).stdout
    assert not any(text in shown for text in (*NAMES, *LABELS, "softmax", "matmul"))


def test_labels_are_public_if_the_owner_says_so(folder: Path, sealed: Path) -> None:
    path = folder / "public.tzm"
    tzml("seal", sealed.with_name("model.tzm"), "--owner", folder / "owner.pem", "--public-labels", "-o", path)
    assert all(label.encode() in path.read_bytes() for label in LABELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rename", "nothing=x"), "no input or output has the name 'nothing'"),
        (("--rename", "secret_input=secret_output"), "cannot be renamed to 'secret_output'"),
        (("--rename", "secret_input=\x1b[31m"), "cannot be renamed to"),
        (("--kernels", "model.onnx"), "is not a signed library"),
        (("--kernels", "owner.pem"), "is not a signed library"),
    ],
)
def test_what_cannot_be_is_one_clear_error(folder: Path, options: tuple[str, str], message: str) -> None:
    given = [folder / option if option in ("model.onnx", "owner.pem") else option for option in options]
    with pytest.raises(TzmlError, match=message):
        tzml(*compile_options(folder), *given, "-o", folder / "out.tzm")
    assert not (folder / "out.tzm").exists()


def test_kernels_of_another_structure_are_refused(folder: Path, sealed: Path) -> None:
    kernels = folder / "model.kernels"
    changed = bytearray(kernels.read_bytes())
    changed[-1] ^= 1
    (folder / "changed.kernels").write_bytes(changed)
    with pytest.raises(TzmlError, match="the signed kernels are not those of this model"):
        tzml(*compile_options(folder), "--kernels", folder / "changed.kernels", "-o", folder / "out.tzm")
    assert not (folder / "out.tzm").exists()
