"""One package for each model format: file in, Relax module out."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from tzml.compiler.frontends.checks import Warn
from tzml.compiler.frontends.errors import release, silence
from tzml.compiler.frontends.inputs import Inputs, InputSpec
from tzml.compiler.frontends.recognise import HEAD, Format, recognise
from tzml.compiler.frontends.refusal import RefusedLayer, refusals
from tzml.compiler.ir.errors import CompileError, UnsupportedError, explained
from tzml.compiler.ir.imported import Imported
from tzml.darknet.cfg import image_preprocessing, is_cfg, read_cfg

__all__ = [
    "Format",
    "InputSpec",
    "Inputs",
    "RefusedLayer",
    "default_preprocessing",
    "import_file",
    "recognise",
    "survey_file",
]

# format: module and function. Each is imported only when it is used: PyTorch alone takes seconds.
_FRONTENDS = {
    Format.darknet: ("darknet.importer", "import_darknet"),
    Format.mxnet: ("mxnet.importer", "import_mxnet"),
    Format.onnx: ("onnx.importer", "import_onnx"),
    Format.pytorch: ("pytorch.importer", "import_pytorch"),
    Format.tflite: ("tflite.importer", "import_tflite"),
    **dict.fromkeys(
        (Format.keras, Format.saved_model, Format.frozen_graph), ("tensorflow.importer", "import_tensorflow")
    ),
}


def import_file(path: Path, inputs: Inputs, warn: Warn, weights: str = "") -> Imported:
    """Import the model at `path`, a file or a SavedModel's folder, of any format that `recognise` knows.

    `inputs` fixes the inputs whose dimensions the file leaves open; `warn` is told what may be wrong with
    a model that can be compiled all the same. `weights` is the file of a network whose file has none.
    Raises CompileError for a path that cannot be read, a file that is no
    model or a damaged one, open dimensions, an operator that there is no kernel for, and a missing package.
    """
    try:
        return _import(path, inputs, warn, weights)
    except UnsupportedError as error:
        error.graph = None  # which may be large
        raise


def default_preprocessing(path: Path) -> dict[str, Any]:
    """How an image becomes the input of the model at `path`, if its format says that; else empty."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        return image_preprocessing(read_cfg(path)) if is_cfg(file.read(HEAD)) else {}


def survey_file(
    path: Path, inputs: Inputs, warn: Warn, weights: str = ""
) -> tuple[Imported | None, list[RefusedLayer]]:
    """The model as `import_file` gives it, or None and why it would be refused.

    Of a model that goes by way of ONNX, all layers are looked at; of others, those that a format's converter
    refuses for their operator, or else the first one whose operands or options it refuses.
    """
    try:
        return _import(path, inputs, warn, weights), []
    except CompileError as error:
        found, graph = refusals(error), getattr(error, "graph", None)
    if graph is None:
        return None, found
    from tzml.compiler.frontends.onnx.survey import survey_model

    with explained(f"{path.name} cannot be imported"), silence():
        return None, list(survey_model(graph, path, inputs))


def _import(path: Path, inputs: Inputs, warn: Warn, weights: str) -> Imported:
    kind = recognise(path)
    if weights and kind is not Format.darknet:
        raise CompileError(f"{path} has its weights in it or beside it", "leave out --weights")
    module, function = _FRONTENDS[kind]
    frontend = getattr(importlib.import_module(f"tzml.compiler.frontends.{module}"), function)
    warnings: list[str] = []
    with explained(f"{path.name} cannot be imported"), silence():
        try:
            imported: Imported = frontend(path, inputs, warnings.append, *([weights] if weights else []))
        except Exception as error:
            release(error)
            raise
    for warning in warnings:
        warn(warning)
    return imported
