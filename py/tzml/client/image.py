"""Conversion of images to a network's input. Reading images needs Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client.description import TensorInfo
from tzml.errors import TzmlError
from tzml.metadata import Metadata
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
    values = np.rint(values)
    with np.errstate(invalid="ignore"):
        clamped = np.clip(values, limits.min, limits.max).astype(dtype)
    # float32 has no 2^31 - 1 and the like: what is above them is beyond the range even when it is clamped
    return np.where(values >= limits.max, dtype.type(limits.max), clamped)


def inputs_of(files: Sequence[Path], inputs: Sequence[TensorInfo], metadata: Metadata) -> list[dict[str, Array]]:
    """The model's input for each image, by name. Raises TzmlError if the bundle does not say how it is made."""
    if len(inputs) != 1:
        raise TzmlError(
            "the model has several inputs, but images can be used only for one",
            "give --input NAME=FILE.npy for each",
        )
    (info,) = inputs
    if info.name not in metadata.images:
        raise TzmlError(
            f"the bundle does not say how an image becomes the input {info}",
            "compile the model with --preprocess, or give --input FILE.npy",
        )
    quantization = metadata.quantization.get(info.name)
    images = [load_image(file, metadata.images[info.name]) for file in files]
    return [{info.name: quantize(image, info.dtype, quantization)} for image in images]
