"""Conversion of images to a network's input, and of its scores to labels. Reading images needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.errors import TzmlError
from tzml.preprocess import Preprocessing, Quantization

Array = NDArray[Any]


def load_image(path: Path, preprocessing: Preprocessing) -> Array:
    """Read an image and prepare it: float32 in the preprocessing's layout, with a batch of one.

    Raises TzmlError if Pillow is missing, or if the file is not an image, or the image is too large or too small.
    """
    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError as error:
        raise TzmlError(
            "reading images needs Pillow, which is not installed",
            "apt-get install python3-pil, or pip install 'tzml[image]'; or give the input as a .npy file",
        ) from error
    try:
        with Image.open(path) as image:
            # cameras store their orientation, and networks are trained on upright images
            upright = ImageOps.exif_transpose(image).convert(preprocessing.channels.replace("BGR", "RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise TzmlError(f"{path} cannot be read as an image: {error}", "give a JPEG or PNG file") from error
    return prepare(_cut(upright, preprocessing, Image.Resampling[preprocessing.filter.upper()]), preprocessing)


def _cut(image: Any, preprocessing: Preprocessing, resample: Any) -> Array:
    """The image's pixels after resizing and cropping: uint8 [height, width, channels]. Raises TzmlError."""
    resize = preprocessing.resize
    if isinstance(resize, int):
        width, height = image.size
        long = int(resize * max(width, height) / min(width, height))
        resize = (long, resize) if height > width else (resize, long)
    if resize is not None:
        image = image.resize((resize[1], resize[0]), resample)
    if preprocessing.crop is not None:
        height, width = preprocessing.crop
        if image.width < width or image.height < height:
            raise TzmlError(
                f"the image has {image.width}x{image.height} pixels, too few to crop {width}x{height} from it",
                "give a larger image, or compile the model with `resize` in its preprocessing",
            )
        # rounded as torchvision's center_crop does
        top, left = round((image.height - height) / 2), round((image.width - width) / 2)
        image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def prepare(pixels: Array, preprocessing: Preprocessing) -> Array:
    """Convert pixels, uint8 [height, width, channels], to a batch of one in float32 and the network's layout."""
    if preprocessing.channels == "BGR":
        pixels = pixels[:, :, ::-1]
    mean, std = (np.array(v, np.float32) for v in (preprocessing.mean, preprocessing.std))
    # each operation is rounded to float32, so that the result equals the training framework's bit for bit
    values = (pixels.astype(np.float32) / np.float32(preprocessing.divide) - mean) / std
    if preprocessing.layout == "NCHW":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None])


def quantize(values: Array, dtype: np.dtype[Any], quantization: Quantization | None) -> Array:
    """Convert real numbers to the input's dtype. Integers are rounded and clamped to the range of the dtype."""
    if dtype.kind == "f":
        return values.astype(dtype)
    if quantization:
        values = values / np.float32(quantization.scale) + np.float32(quantization.zero_point)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)


def dequantize(values: Array, quantization: Quantization | None) -> Array:
    """Convert an output to the real numbers that it represents: float32 if it is quantized."""
    if not quantization:
        return values
    return (values.astype(np.float32) - quantization.zero_point) * np.float32(quantization.scale)


def top(scores: Array, labels: Sequence[str], count: int) -> list[tuple[str, float]]:
    """The `count` labels with the highest probabilities, best first. Raises TzmlError.

    `scores` has one value for each label. Scores that are not probabilities are taken as logits, and softmax
    converts them to probabilities.
    """
    values = scores.astype(np.float64).reshape(-1)
    if len(values) != len(labels):
        raise TzmlError(f"the output has {len(values)} values, but there are {len(labels)} labels")
    # quantized probabilities add up to 1 within a few steps of 1/256
    if not (values.min() >= 0 and abs(values.sum() - 1) < 0.05):
        values = np.exp(values - values.max())
        values /= values.sum()
    best = np.argsort(-values, kind="stable")[:count]
    return [(labels[i], float(values[i])) for i in best]
