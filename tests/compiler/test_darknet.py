"""Networks of Darknet answer as Darknet's code does, whatever header their weights have; others are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import tzml
from darknet_networks import LENET, Layers, maxpool
from programs import run_module
from small_models import CompileAndRun

from tzml.bundle import read
from tzml.compiler import CompileOptions, compile_model
from tzml.compiler.compile import layers_of
from tzml.compiler.frontends import import_file
from tzml.compiler.frontends.files import model_files
from tzml.errors import TzmlError
from tzml.owner.keys import generate, public_pem

IMAGES = np.random.default_rng(1).uniform(0, 1, (3, 1, 3, 28, 28)).astype(np.float32)
LAYERS = Layers.random()
EXPECTED = np.stack([LAYERS.run(image[0]) for image in IMAGES])


@pytest.fixture
def lenet(tmp_path: Path) -> Path:
    """A network and its weights, as lenet.cfg and lenet.weights."""
    LAYERS.write(tmp_path / "lenet.weights")
    (tmp_path / "lenet.cfg").write_text(LENET)
    return tmp_path / "lenet.cfg"


@pytest.mark.parametrize("version", [(0, 1), (0, 2), (2, 5), (1001, 0)], ids=str)
def test_it_answers_as_darknet_with_each_header(
    lenet: Path, compile_and_run: CompileAndRun, version: tuple[int, int]
) -> None:
    LAYERS.write(lenet.with_suffix(".weights"), version)
    found = compile_and_run(lenet, IMAGES)[:, 0]
    np.testing.assert_allclose(found, EXPECTED, atol=1e-6)


@pytest.mark.parametrize(("first", "end"), [(4, 10), (0, 3), (2, 5), (6, 7), (0, 10), (5, 6)])
def test_files_of_both_worlds_are_put_together(
    lenet: Path, compile_and_run: CompileAndRun, first: int, end: int
) -> None:
    """The TEE had the layers from `first` to `end`, as DarkneTZ counts them."""
    weights = lenet.with_suffix(".weights")
    header = weights.read_bytes()[:20]
    weights.unlink()
    others = [*range(first), *range(end, 10)]
    weights.with_name("lenet.weights_ree").write_bytes(header + LAYERS.bytes_of(others))
    weights.with_name("lenet.weights_tee").write_bytes(header + LAYERS.bytes_of(range(first, end)))
    if not LAYERS.bytes_of(range(first, end)):
        assert first == 5  # dropout: it has no numbers
    np.testing.assert_allclose(compile_and_run(lenet, IMAGES)[:, 0], EXPECTED, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [None, 0, 1, 2])
def test_maximum_pooling_pads_as_darknet(tmp_path: Path, size: int, stride: int, padding: int | None) -> None:
    import onnxruntime
    from onnx import save

    from tzml.compiler.frontends.darknet.network import to_onnx
    from tzml.compiler.frontends.darknet.weights import RandomWeights
    from tzml.darknet.cfg import read_cfg

    total = size - 1 if padding is None else padding
    option = "" if padding is None else f"padding={padding}\n"
    cfg = tmp_path / "x.cfg"
    cfg.write_text(f"[net]\nheight=9\nwidth=7\nchannels=2\n[maxpool]\nsize={size}\nstride={stride}\n{option}")
    x = np.random.default_rng(0).standard_normal((2, 9, 7)).astype(np.float32)
    expected = maxpool(x, size, stride, total)
    if np.isinf(expected).any():  # a whole window lies outside of the image
        with pytest.raises(TzmlError, match="does not fit into"):
            to_onnx(read_cfg(cfg), RandomWeights())
        return
    model = to_onnx(read_cfg(cfg), RandomWeights())
    save(model, tmp_path / "x.onnx")
    (found,) = onnxruntime.InferenceSession(str(tmp_path / "x.onnx")).run(None, {"data": x[None]})
    np.testing.assert_array_equal(found[0], expected)


def test_layers_have_darknets_numbers_in_their_names(lenet: Path) -> None:
    names = [layer.name for layer in layers_of(lenet)]
    assert names == ["convolutional0", "maxpool1", "convolutional2", "maxpool3", "connected4", "connected6",
                     "connected7", "softmax8"]  # fmt: skip


def test_the_command_takes_weights_and_a_data_set_and_shows_five_lines(
    lenet: Path, tmp_path: Path, libtzml: Path
) -> None:
    from PIL import Image

    moved = lenet.with_suffix(".weights").rename(tmp_path / "trained")
    (tmp_path / "names.list").write_text("".join(f"digit {i}\n" for i in range(10)))
    (tmp_path / "mnist.dataset").write_text("classes=10\nnames=names.list\n")
    pixels = np.random.default_rng(2).integers(0, 256, (28, 28, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    compile_ = (
        "compile",
        lenet,
        "--target",
        "host",
        "-o",
        tmp_path / "x.tzm",
        "--data",
        tmp_path / "mnist.dataset",
    )
    refused = tzml(*compile_)
    assert refused.returncode == 2
    assert "lenet.cfg has no weights: there is neither" in refused.stderr
    done = run_module("tzml", *compile_, "--weights", moved, timeout=600)
    assert done.returncode == 0, done.stderr
    done = tzml("run", tmp_path / "x.tzm", tmp_path / "x.png", "--world", "ree")
    assert done.returncode == 0, done.stderr
    shown = [line.split() for line in done.stdout.splitlines() if "digit" in line]
    best = LAYERS.run(pixels.transpose(2, 0, 1) / np.float32(255))
    assert [int(line[-1]) for line in shown] == list(np.argsort(-best)[:5])
    checked = tzml("check", lenet, "--weights", moved, "--json")
    assert json.loads(checked.stdout)["format"] == "Darknet"


def test_random_weights_are_for_training_and_the_same_each_time(lenet: Path, tmp_path: Path) -> None:
    lenet.with_suffix(".weights").unlink()
    warnings: list[str] = []
    bundles = [
        compile_model(lenet, CompileOptions("host", weights="random"), warn=warnings.append) for _ in range(2)
    ]
    assert bundles[0].encode() == bundles[1].encode()
    assert "nothing is dropped by the dropout layers 5 while the model is trained" in warnings[0]


def test_encryption_takes_the_weights_along(lenet: Path) -> None:
    name, files = model_files(lenet)
    assert (name, set(files)) == ("lenet.cfg", {"lenet.cfg", "lenet.weights"})
    moved = lenet.with_suffix(".weights").rename(lenet.with_name("elsewhere"))
    assert model_files(lenet, str(moved))[1]["lenet.weights"] == moved


def test_encrypted_it_becomes_the_same_bundle(lenet: Path, tmp_path: Path) -> None:
    key = generate(tmp_path / "key.pem")
    (tmp_path / "key.pub.pem").write_bytes(public_pem(key.public))
    done = tzml("encrypt", lenet, "--for", tmp_path / "key.pub.pem")
    assert done.returncode == 0, done.stderr
    for path, options in ((lenet, ()), (lenet.with_suffix(".tze"), ("--key", tmp_path / "key.pem", "--clear"))):
        output = tmp_path / f"{path.suffix[1:]}.tzm"
        done = run_module("tzml", "compile", path, *options, "--target", "host", "-o", output, timeout=600)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "cfg.tzm").read_bytes() == (tmp_path / "tze.tzm").read_bytes()
    assert json.loads(read(tmp_path / "tze.tzm").metadata)["images"]["data"]["divide"] == 255


def test_weights_of_another_network_or_with_a_wrong_key_are_noticed(lenet: Path) -> None:
    weights = lenet.with_suffix(".weights")
    data = weights.read_bytes()
    for changed, message in (
        (data[:-4], r"has 47,793 numbers, and the network takes more"),
        (data + bytes(4), r"has 47,795 numbers, and the network takes 47,794"),
        (data[:-1], "no header and whole numbers"),
        (data[:8], "too few for weights of Darknet"),
        (b"\x93\x12\x45\x80" + data[4:], "no file of weights of Darknet: its version is"),
    ):
        weights.write_bytes(changed)
        with pytest.raises(TzmlError, match=message):
            import_file(lenet, {}, lambda _: None)
    warnings: list[str] = []
    weights.write_bytes(data[:60] + b"\x12\xff\x9b\x7e" + data[64:])
    import_file(lenet, {}, warnings.append)
    assert any("it may be encrypted, or was decrypted with another key" in warning for warning in warnings)
    with pytest.raises(TzmlError, match="leave out --weights"):
        import_file(Path(__file__).parent / "data" / "float32.tflite", {}, lambda _: None, "x")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[softmax]", "[yolo]", r"layer 8 \[yolo\]: no support for this kind of layer"),
        ("filters=6\n", "filters=6\nxnor=1\n", "xnor is not supported"),
        ("filters=6\n", "filters=6\ndialation=1\n", "the option dialation is not known"),
        ("filters=6\n", "filters=six\n", "filters=six is no whole number"),
        ("filters=6\n", "filters=0\n", "filters=0 is less than 1"),
        ("filters=6\n", "filters=6\nfilters=7\n", "filters is given twice"),
        ("activation=leaky", "activation=mish", "the activation mish is not known"),
        ("size=5\n", "size=99\npadding=0\n", "a window of 99 does not fit|takes more"),
        ("channels=3", "channels=0", "channels, height and width are not all given"),
        ("[softmax]", "[convolutional]", "it takes an image, and the layer before it gives 10 numbers"),
        ("[softmax]", "[softmax]\ngroups=2", "groups, spatial and tree are not supported"),
        ("[net]", "[net]\nwhat is this", "neither .section. nor option=value"),
    ],
)
def test_what_is_not_understood_is_refused(lenet: Path, old: str, new: str, message: str) -> None:
    lenet.write_text(LENET.replace(old, new, 1))
    with pytest.raises(TzmlError, match=message):
        import_file(lenet, {}, lambda _: None)
