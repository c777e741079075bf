"""The files that a model is made of."""

from __future__ import annotations

from pathlib import Path

from tzml.compiler.frontends.recognise import Format, recognise
from tzml.files import files_below


def model_files(path: Path, weights: str = "") -> tuple[str, dict[str, Path]]:
    """The name of a model and its files by their names, of which the model's is the first part of one.

    A folder has the files in it, an ONNX file those that have its weights, an MXNet symbol its
    parameters, a network of Darknet its weights. Raises
    CompileError for what is no model, and for weights outside its folder.
    """
    kind = recognise(path)
    name = path.resolve().name
    if path.is_dir():
        return name, {f"{name}/{file.relative_to(path).as_posix()}": file for file in files_below(path)}
    files = {name: path}
    if kind is Format.onnx:
        from tzml.compiler.frontends.onnx.tensors import external_files

        folder = path.resolve().parent
        files |= {file.relative_to(folder).as_posix(): file for file in external_files(path)}
    elif kind is Format.darknet:
        from tzml.compiler.frontends.darknet.importer import WORLDS, weights_of

        found = weights_of(path, weights)
        ends = WORLDS if len(found) > 1 else [""]
        beside = path.with_suffix(".weights").name  # where they are looked for
        files |= {f"{beside}{end}": file for file, end in zip(found, ends, strict=True)}
    elif kind is Format.mxnet:
        from tzml.compiler.frontends.mxnet.importer import params_of

        params = params_of(path)
        files[params.name] = params
    return name, files
