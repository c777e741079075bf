"""libtzml through cffi; host/include/tzml.h lists its functions, and tools/declare tells cffi of them."""

from __future__ import annotations

import functools
import logging
import os
from importlib.util import find_spec
from typing import Any

from tzml.client.declarations import ffi
from tzml.errors import TzmlError

SONAME = "libtzml.so.1"
_log = logging.getLogger(__name__)


def _load(path: str) -> Any:
    _log.info("loading %s", path)
    return ffi.dlopen(path)


@functools.cache
def library() -> Any:
    """The loaded library: $TZML_LIBRARY, or libtzml.so.1 where the system has it. Raises TzmlError.

    A build host that has none builds it once, without a secure world (tzml.client.build).
    """
    path = os.environ.get("TZML_LIBRARY", SONAME)
    try:
        try:
            return _load(path)
        except OSError as error:
            missing = f"{SONAME}: cannot open shared object file" in str(error)
            if not missing or path != SONAME or not find_spec("tzml.client.build"):  # which a device does not have
                raise
            from tzml.client.build import built_library

            path = str(built_library())
            return _load(path)
    except OSError as error:
        raise TzmlError(
            f"cannot load {path}: {error}", "install libtzml, or set TZML_LIBRARY to its path"
        ) from error


def text(pointer: Any) -> str:
    """A string of the library's."""
    data = ffi.string(pointer)
    assert isinstance(data, bytes)
    return data.decode(errors="replace")
