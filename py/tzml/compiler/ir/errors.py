"""Errors of the compiler."""

from tzml.errors import TzmlError


class CompileError(TzmlError):
    """A model that cannot be compiled as it is."""
