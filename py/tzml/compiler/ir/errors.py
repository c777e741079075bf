"""Errors of the compiler."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tzml.errors import TzmlError

_log = logging.getLogger(__name__)


class CompileError(TzmlError):
    """A model that cannot be compiled as it is."""


class UnsupportedError(CompileError):
    """A model with layers that there is no kernel for; `layers` has the operator and the name of each.

    `graph` is the ONNX model that they are in, if the model is one or became one; `others` has the refusals of more
    layers, for other reasons.
    """

    def __init__(self, what: str, remedy: str = "", layers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(what, remedy)
        self.layers = tuple(layers)
        self.graph: Any = None
        self.others: tuple[UnsupportedError, ...] = ()


def reason(error: BaseException) -> str:
    """The line of an exception that says what happened. TVM's have a C++ trace before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def explained(what: str, remedy: str = "") -> Iterator[None]:
    """Raise CompileError for whatever TVM raises inside, which can be of any type.

    The message is `what`; TVM's own is about its inside, and logged. Errors with a remedy of their own pass.
    """
    try:
        yield
    except TzmlError:
        raise
    except Exception as error:
        _log.info("%s, TVM says: %s", what, reason(error))
        if isinstance(error, MemoryError) or "bad_alloc" in str(error):
            raise CompileError(f"{what}: memory ran out", remedy) from error
        raise CompileError(what, remedy or "--verbose shows what the compiler says of it") from error
