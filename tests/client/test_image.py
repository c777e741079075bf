"""Photographs become the network's input as its training framework does it, and its scores become names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import tzml
from PIL import Image

from tzml.client.image import load_image, quantize
from tzml.client.labels import dequantize, top
from tzml.errors import TzmlError
from tzml.metadata import Metadata, read_metadata
from tzml.preprocess import Quantization, parse
from tzml_zoo.digits import MODEL, ONNX, held_out_digits


def save(pixels: Any, path: Path, **options: Any) -> Path:
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


@pytest.fixture(scope="module")
def named_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits network, compiled on the command line with its preprocessing and names."""
    folder = tmp_path_factory.mktemp("digits")
    (folder / "digits.yaml").write_text(json.dumps(MODEL.preprocess))
    (folder / "digits.txt").write_text("zero\none\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n")
    done = tzml("compile", ONNX, "-o", folder / "digits.tzm", "--target", "host",
                "--preprocess", folder / "digits.yaml", "--labels", folder / "digits.txt")  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "digits.tzm"


@pytest.mark.usefixtures("libtzml")
def test_an_image_is_answered_with_names(named_digits: Path, tmp_path: Path) -> None:
    images, labels = held_out_digits()
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    files = [save(images[i, 0] * 255, tmp_path / f"{i}.png") for i in range(3)]
    done = tzml("run", named_digits, *files, "--world", "ree", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [best[0][0] for best in report["top"]["probabilities"]] == [names[n] for n in labels[:3]]
    shown = tzml("run", named_digits, files[0], "--world", "ree", "--top", "1").stdout
    assert "0.png:" in shown
    assert names[labels[0]] in shown


@pytest.mark.usefixtures("libtzml")
def test_a_bundle_that_says_nothing_of_images_is_named(digits_for_host: Path, tmp_path: Path) -> None:
    file = save(np.zeros((28, 28)), tmp_path / "x.png")
    done = tzml("run", digits_for_host, file, "--world", "ree")
    assert done.returncode == 2
    assert "does not say how an image becomes the input image: float32[1, 1, 28, 28]" in done.stderr
    assert "compile the model with --preprocess" in done.stderr


def test_every_pixel_is_divided_shifted_and_scaled(tmp_path: Path) -> None:
    pixels = np.random.RandomState(0).randint(256, size=(4, 6, 3))
    about = {"divide": 255, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    loaded = load_image(save(pixels, tmp_path / "x.png"), parse(about, (1, 3, 4, 6), "test"))
    expected = (pixels / 255 - np.array(about["mean"])) / np.array(about["std"])
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded[0], expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)


def test_channels_and_layout_are_the_networks(tmp_path: Path) -> None:
    pixels = np.arange(4 * 6 * 3).reshape(4, 6, 3)
    file = save(pixels, tmp_path / "x.png")
    assert (load_image(file, parse({}, (1, 4, 6, 3), "test"))[0] == pixels).all()
    assert (load_image(file, parse({"channels": "BGR"}, (1, 4, 6, 3), "test"))[0] == pixels[:, :, ::-1]).all()
    assert (load_image(file, parse({}, (1, 3, 4, 6), "test"))[0] == pixels.transpose(2, 0, 1)).all()
    grey = save(np.full((4, 6), 7), tmp_path / "grey.png")
    assert (load_image(grey, parse({}, (1, 4, 6, 3), "test")) == 7).all()


def test_the_shorter_side_is_resized_and_the_middle_cut_out(tmp_path: Path) -> None:
    pixels = np.zeros((40, 80, 3))
    pixels[:, 20:60] = 200  # the middle square
    about = parse({"resize": 20, "crop": [16, 16]}, (1, 16, 16, 3), "test")
    assert (load_image(save(pixels, tmp_path / "x.png"), about) == 200).all()
    small = parse({}, (1, 50, 50, 3), "test")
    with pytest.raises(TzmlError, match="the image has 80x40 pixels, too few to crop 50x50 from it"):
        load_image(tmp_path / "x.png", small)


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((2, 4), np.uint8)
    pixels[:, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: the camera was turned, the image is to be rotated clockwise
    file = save(pixels, tmp_path / "x.png", exif=exif)
    loaded = load_image(file, parse({}, (1, 1, 4, 2), "test"))[0, 0]
    assert loaded.tolist() == [[255, 255], [0, 0], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    "data", [b"", b"no image", b"\x89PNG\r\n\x1a\n" + bytes(40), b"\xff\xd8\xff\xe0" + bytes(40)]
)
def test_what_is_no_image_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(TzmlError, match=r"x.jpg cannot be read as an image.*give a JPEG or PNG file"):
        load_image(path, parse({}, (1, 1, 4, 2), "test"))


@pytest.mark.parametrize(
    ("about", "message"),
    [
        (
            {"resize": 256, "crop": [200, 200]},
            r"the result has \(200, 200\) pixels .*, but the input has",
        ),
        ({"resize": [100, 100], "crop": [224, 224]}, "is larger than resize"),
        ({"resize": 100, "crop": [224, 224]}, "is larger than the shorter side, resize 100"),
        ({"mean": [1, 2]}, r"mean is \[1, 2\], not 3 numbers"),
        ({"std": 0}, "divide and std must not be 0"),
        ({"std": float("nan")}, "std is nan"),
        ({"filter": "magic"}, "filter is 'magic', not one of nearest"),
        ({"channels": "L"}, r"an image as NHWC with L does not fit an input of shape \[1, 3, 224, 224\]"),
        ({"crop": 5}, r"crop is 5, not \[height, width\]"),
        ({"size": 224}, "there is no field size; docs/models.md has the fields"),
        (["resize"], "this must be an object with fields"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_refused(about: Any, message: str) -> None:
    with pytest.raises(TzmlError, match=message):
        parse(about, (1, 3, 224, 224), "test")


def test_preprocessing_comes_back_from_the_metadata_as_it_was() -> None:
    image = parse({"resize": 256, "mean": 127, "std": 128}, (1, 3, 224, 224), "test")
    stored = Metadata({"image": image}, {"y": ["a", "b"]}, {"image": Quantization(0.5, 3)})
    data = json.dumps(stored.as_json()).encode()
    assert read_metadata(data, {"image": (1, 3, 224, 224)}) == stored


def test_integers_stand_for_real_numbers() -> None:
    about = Quantization(0.5, -3)
    values = np.array([-1000, -1, 0, 0.26, 1000], np.float32)
    integers = quantize(values, np.dtype(np.int8), about)
    assert integers.tolist() == [-128, -5, -3, -2, 127]
    assert dequantize(integers, about).tolist() == [-62.5, -1, 0, 0.5, 65]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "int64", "uint64"])
def test_numbers_beyond_an_integers_range_become_its_ends(dtype: str) -> None:
    """Also where float32 does not have them."""
    limits = np.iinfo(dtype)
    integers = quantize(np.array([-1e30, 1.5, limits.max, 1e30], np.float32), np.dtype(dtype), None)
    assert integers.dtype == dtype
    assert integers.tolist() == [limits.min, 2, limits.max, limits.max]


def test_the_best_names_come_first() -> None:
    assert top(np.array([[0.1, 0.7, 0.2]]), ["a", "b", "c"], 2) == [("b", 0.7), ("c", 0.2)]
    logits = top(np.array([0.0, 1.0, 3.0]), ["a", "b", "c"], 1)
    [(label, score)] = logits
    assert label == "c"
    assert score == pytest.approx(np.exp(3) / (1 + np.e + np.exp(3)))
    with pytest.raises(TzmlError, match="the output has 3 values, but there are 2 labels"):
        top(np.zeros(3), ["a", "b"], 1)
