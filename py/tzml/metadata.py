"""The metadata section of a bundle: information for people and programs in the normal world.

docs/bundle.md, "Metadata and notes", is the specification. Unknown fields are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tzml.errors import TzmlError
from tzml.preprocess import Preprocessing, Quantization, parse, parse_labels, parse_quantization

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Metadata:
    """The metadata that `tzml run` uses: preprocessing by input, labels by output, quantization by tensor."""

    images: dict[str, Preprocessing] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    quantization: dict[str, Quantization] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The fields of the section that are not empty."""
        found = {
            "images": {name: image.as_json() for name, image in self.images.items()},
            "labels": self.labels,
            "quantization": {name: vars(q) for name, q in self.quantization.items()},
        }
        return {name: value for name, value in found.items() if value}


def read_metadata(data: bytes, inputs: Shapes) -> Metadata:
    """Read the section. `inputs` has the shapes of the model's inputs. Raises TzmlError."""
    try:
        about = json.loads(data or b"{}")
    except ValueError as error:
        raise TzmlError(f"the bundle's metadata is not JSON: {error}", "compile the model again") from error
    if not isinstance(about, dict):
        raise TzmlError("the bundle's metadata is not a JSON object", "compile the model again")
    images = _object(about, "images")
    for name in images:
        if name not in inputs:
            raise TzmlError(
                f"the bundle's metadata describes images for {name}, which is not an input of the model"
            )
    where = "the bundle's metadata"
    return Metadata(
        {name: parse(value, inputs[name], where) for name, value in images.items()},
        {name: parse_labels(value, where) for name, value in _object(about, "labels").items()},
        {name: parse_quantization(value, where) for name, value in _object(about, "quantization").items()},
    )


def _object(about: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = about.get(name, {})
    if not isinstance(value, dict):
        raise TzmlError(f"the bundle's metadata: {name} is not a JSON object", "compile the model again")
    return value
