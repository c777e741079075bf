"""The metadata of a new bundle: what the user gave with the model, matched with its inputs and outputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tzml.bundle import Tensor
from tzml.compiler.ir.errors import CompileError
from tzml.files import files_below
from tzml.preprocess import Preprocessing, parse, parse_labels


def read_preprocess_file(path: Path) -> dict[str, Any]:
    """The object in a YAML or JSON file. Raises CompileError."""
    try:
        about = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CompileError(
            f"cannot read {path}: {' '.join(str(error).split())}", "give a YAML or JSON file"
        ) from error
    if not isinstance(about, dict):
        raise CompileError(f"{path} has no fields", "docs/models.md has an example")
    return about


def read_labels_file(path: Path) -> list[str]:
    """The names in a text file, one a line. Raises CompileError."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CompileError(f"cannot read {path}: {error}", "give a text file with one name a line") from error
    while lines and not lines[-1].strip():
        lines.pop()
    return parse_labels([line.strip() for line in lines], str(path))


def match_preprocessing(about: Mapping[str, Any], inputs: Sequence[Tensor]) -> dict[str, Preprocessing]:
    """The preprocessing of one input: the one that `about` names, or the only one. Raises TzmlError."""
    if not about:
        return {}
    fields = dict(about)
    name = fields.pop("input", inputs[0].name)
    found = next((port for port in inputs if port.name == name), None)
    if found is None or ("input" not in about and len(inputs) > 1):
        raise CompileError(
            "preprocessing is for one of several inputs" if found else f"the model has no input {name}",
            f"give one as `input`: {', '.join(port.name for port in inputs)}",
        )
    return {found.name: parse(fields, found.shape, "preprocessing")}


def match_labels(labels: Sequence[str], outputs: Sequence[Tensor]) -> dict[str, list[str]]:
    """The labels of the first output that has as many values. Raises CompileError."""
    if not labels:
        return {}
    for port in outputs:
        if port.shape and port.shape[-1] == len(labels):
            return {port.name: list(labels)}
    has = ", ".join(f"{port.name} {list(port.shape)}" for port in outputs)
    raise CompileError(f"there are {len(labels)} labels, but no output with as many values: {has}")


def source_digest(path: Path) -> str:
    """SHA-256 of a model file, or of a folder's files with their names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else files_below(path):
        if file != path:
            digest.update(f"{file.relative_to(path)}\0{file.stat().st_size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
