"""libtzml through cffi; host/include/tzml.h is the only list of its functions."""

from __future__ import annotations

import functools
import os
import re
from importlib import resources
from typing import Any

import cffi

from tzml.errors import TzmlError

ffi = cffi.FFI()

SONAME = "libtzml.so.1"


def _declarations() -> str:
    header = (resources.files("tzml.client") / "tzml.h").read_text()
    marked = re.search(r"/\* cffi: begin \*/(.*)/\* cffi: end \*/", header, re.DOTALL)
    assert marked, "tzml.h has lost its marks"
    # cffi takes a #define with a number, but no comment after it
    return re.sub(r"/\*.*?\*/", "", marked[1], flags=re.DOTALL)


ffi.cdef(_declarations())


@functools.cache
def library() -> Any:
    """The loaded library: $TZML_LIBRARY, or libtzml.so.1 where the system has it."""
    path = os.environ.get("TZML_LIBRARY", SONAME)
    try:
        return ffi.dlopen(path)
    except OSError as error:
        raise TzmlError(
            f"cannot load {path}: {error}", "install libtzml, or set TZML_LIBRARY to its path"
        ) from error


def text(pointer: Any) -> str:
    """A string of the library's."""
    data = ffi.string(pointer)
    assert isinstance(data, bytes)
    return data.decode(errors="replace")
