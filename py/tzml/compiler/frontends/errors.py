"""The ways in which a model is refused."""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tzml.compiler.ir.errors import CompileError, UnsupportedError, reason

# operators that people meet, and what to do about each
WAYS_AROUND = {
    "If": "export the model for inference, with its conditions resolved",
    "Loop": "export it unrolled: its number of steps must be fixed",
    "Scan": "export it unrolled: its number of steps must be fixed",
    "NonMaxSuppression": "compile the network up to it, and run it on the outputs",
    "NonZero": "its output's shape depends on the data; compute a mask instead",
    "Unique": "its output's shape depends on the data; do it outside the network",
    "StringNormalizer": "do text processing outside the network",
    "CUSTOM": "replace the custom operator with TFLite's own ones",
}


def unsupported(file: str, layers: Sequence[tuple[str, str]], remedy: str = "") -> UnsupportedError:
    """The refusal of a model for its operators, each given as (operator, name of the layer it is in)."""
    shown = [f"{operator} (layer {layer})" if layer else operator for operator, layer in layers]
    more = f" and {len(shown) - 4} more" if len(shown) > 4 else ""
    plural = "s" if len(shown) > 1 else ""
    ways = {operator.casefold(): way for operator, way in WAYS_AROUND.items()}  # Relax has them in small letters
    known = next((ways[operator.casefold()] for operator, _ in layers if operator.casefold() in ways), "")
    what = f"{file}: no support for the operator{plural} {', '.join(shown[:4])}{more}"
    remedy = remedy or known or "replace it with other operators, or leave that part of the model out"
    return UnsupportedError(what, remedy, layers)


def unfit(file: str, operator: str, layer: str, error: BaseException) -> CompileError:
    """The refusal of a model with a layer that does not fit its inputs, as the format's own checks found."""
    what = reason(error).removeprefix("[ShapeInferenceError] ")
    return CompileError(
        f"{file}: the operator {operator} (layer {layer}) does not fit its inputs: {what}", "export the model again"
    )


def malformed(path: Path, kind: str, error: BaseException | str) -> CompileError:
    """The refusal of a file that is not what it begins as."""
    what = error if isinstance(error, str) else reason(error)
    return CompileError(f"{path} is not a valid {kind}: {what}", "export the model again")


def needs(package: str, extra: str, what: str) -> Any:
    """Import a package that is an optional part of tzml. Raises CompileError that names the extra."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise CompileError(
            f"{what} needs the Python package {error.name}, which is not installed", f"pip install 'tzml[{extra}]'"
        ) from error


def release(error: BaseException) -> None:
    """Free what an error's traceback holds. TVM complains when a half-made module is freed: do it in silence."""
    cause: BaseException | None = error
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    gc.collect()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep to themselves what frameworks and converters print and warn of; errors are raised all the same.

    Much of it is printed by C++: so it is the file descriptors that are turned away.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = {fd: os.dup(fd) for fd in (1, 2)}
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        for fd in saved:
            os.dup2(null, fd)
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for fd, copy in saved.items():
            os.dup2(copy, fd)
            os.close(copy)
        os.close(null)
