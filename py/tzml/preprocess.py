"""Preprocessing of images, labels and quantization parameters, as a bundle describes them.

docs/bundle.md, "Metadata and notes", specifies the fields. The compiler and the device parse and check them
here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tzml.errors import TzmlError

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
CHANNELS = {"RGB": 3, "BGR": 3, "L": 1}
LAYOUTS = ("NCHW", "NHWC")
MAX_SIDE = 1 << 14


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an image to float32 values, in this order.

    `resize` scales the image to (height, width), or its shorter side to a number of pixels. `crop` cuts out the
    centre of (height, width). `channels` selects the order of the channels. Each channel of each pixel (0 to 255)
    then becomes (pixel / divide - mean) / std, with every operation rounded to float32.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    filter: str
    channels: str
    layout: str
    divide: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """The JSON object that `parse` reads."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def parse(about: object, shape: Sequence[int], where: str) -> Preprocessing:
    """Check the preprocessing that a file or a bundle gives for an input with this shape. Raises TzmlError.

    Fields that are missing have a default: no resizing, a crop of the input's size, "bilinear", "RGB" (or "L" if
    there is one channel), the layout that the shape suggests, and 1, 0, 1 for divide, mean and std. Errors call the
    source `where`.
    """
    check = _Check(about, where)
    channels = check.choice("channels", CHANNELS, "L" if len(shape) == 4 and 1 in (shape[1], shape[3]) else "RGB")
    count = CHANNELS[channels]
    layout = check.choice("layout", LAYOUTS, "NCHW" if len(shape) == 4 and shape[1] == count else "NHWC")
    axes = dict(zip(layout, shape, strict=False))
    if len(shape) != 4 or axes["C"] != count or axes["N"] != 1:
        raise check.error(f"an image as {layout} with {channels} does not fit an input of shape {list(shape)}")
    size = (axes["H"], axes["W"])
    resize = check.size("resize")
    crop = check.pair("crop") or (size if resize != size else None)
    if (crop or resize) != size:
        raise check.error(f"the result has {crop or resize} pixels (height, width), but the input has {size}")
    if isinstance(resize, tuple) and crop and (crop[0] > resize[0] or crop[1] > resize[1]):
        raise check.error(f"crop {crop} is larger than resize {resize}")
    if isinstance(resize, int) and crop and max(crop) > resize:
        raise check.error(f"crop {crop} is larger than the shorter side, resize {resize}")
    found = Preprocessing(
        resize=resize,
        crop=crop,
        filter=check.choice("filter", FILTERS, "bilinear"),
        channels=channels,
        layout=layout,
        divide=check.numbers("divide", 1, 1)[0],
        mean=check.numbers("mean", count, 0),
        std=check.numbers("std", count, 1),
    )
    if found.divide == 0 or 0 in found.std:
        raise check.error("divide and std must not be 0")
    check.nothing_else()
    return found


def parse_labels(labels: object, where: str) -> list[str]:
    """Check the labels that a file or a bundle gives. Raises TzmlError."""
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) and label for label in labels):
        raise TzmlError(f"{where}: labels must be a list of names")
    return labels


@dataclass(frozen=True)
class Quantization:
    """Quantization parameters of integers that represent real numbers: real = scale * (integer - zero_point)."""

    scale: float
    zero_point: int


def parse_quantization(about: object, where: str) -> Quantization:
    """Check the quantization parameters that a bundle gives for a tensor. Raises TzmlError."""
    check = _Check(about, where)
    found = Quantization(check.numbers("scale", 1, 1)[0], int(check.numbers("zero_point", 1, 0)[0]))
    if found.scale <= 0:
        raise check.error("scale must be above 0")
    check.nothing_else()
    return found


class _Check:
    """Takes the fields out of an object one by one, and checks each."""

    def __init__(self, about: object, where: str) -> None:
        self.where = where
        if not isinstance(about, Mapping):
            raise self.error('this must be an object with fields, as in {"resize": 256}')
        self.left = dict(about)

    def error(self, what: str) -> TzmlError:
        return TzmlError(f"{self.where}: {what}", "docs/models.md has the fields")

    def choice(self, name: str, choices: Sequence[str] | Mapping[str, int], default: str) -> str:
        value = self.left.pop(name, default)
        if value not in list(choices):
            raise self.error(f"{name} is {value!r}, not one of {', '.join(choices)}")
        return str(value)

    def size(self, name: str) -> int | tuple[int, int] | None:
        value = self.left.get(name)
        if _is_side(value):
            return int(self.left.pop(name))
        return self.pair(name)

    def pair(self, name: str) -> tuple[int, int] | None:
        value = self.left.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or len(value) != 2 or not all(map(_is_side, value)):
            raise self.error(f"{name} is {value!r}, not [height, width] in pixels")
        return value[0], value[1]

    def numbers(self, name: str, count: int, default: float) -> tuple[float, ...]:
        value = self.left.pop(name, default)
        values = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(values) != count or not all(map(_is_number, values)):
            raise self.error(f"{name} is {value!r}, not {count} number{'s' if count > 1 else ''}")
        return tuple(float(v) for v in values)

    def nothing_else(self) -> None:
        if self.left:
            raise self.error(f"there is no field {', '.join(map(str, self.left))}")


def _is_side(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_SIDE


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
