"""Errors of the compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tzml.errors import TzmlError


class CompileError(TzmlError):
    """A model that cannot be compiled as it is."""


def reason(error: BaseException) -> str:
    """The line of an exception that says what happened. TVM's have a C++ trace before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def explained(what: str, remedy: str = "") -> Iterator[None]:
    """Raise CompileError for whatever TVM raises inside, which can be of any type.

    The message is `what`, a colon and the exception's reason. Errors with a remedy of their own pass.
    """
    try:
        yield
    except TzmlError:
        raise
    except Exception as error:
        raise CompileError(f"{what}: {reason(error)}", remedy) from error
