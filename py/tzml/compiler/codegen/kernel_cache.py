"""Compiled kernels on disk, shared between models: named by all that decides their machine code.

An entry is written whole or not at all, and checked when it is read: several compilers may use one
folder at once, and what was damaged is compiled again. Nothing is ever removed; the folder may be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tzml.cache import cache_folder
from tzml.errors import TzmlError
from tzml.files import write_file

_TAG_SIZE = hashlib.sha256().digest_size


@dataclass(frozen=True)
class CompiledKernel:
    """An object file with one function, and the bytes of each scratch buffer that it takes."""

    object_file: bytes
    scratch: tuple[int, ...]


class KernelCache:
    """The folder `kernels` in $TZML_CACHE; without a folder that can be written, it remembers nothing."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        with contextlib.suppress(OSError):
            self._folder = cache_folder("kernels")

    def get(self, key: str) -> CompiledKernel | None:
        """The kernel that was put under `key`, if it is there and whole."""
        if self._folder is None:
            return None
        try:
            entry = (self._folder / key).read_bytes()
        except OSError:
            return None
        tag, payload = entry[:_TAG_SIZE], entry[_TAG_SIZE:]
        if hashlib.sha256(key.encode() + payload).digest() != tag:
            return None
        scratch, _, object_file = payload.partition(b"\n")
        return CompiledKernel(object_file, tuple(json.loads(scratch)))

    def put(self, key: str, kernel: CompiledKernel) -> None:
        """Keep a kernel; a full disk is no error."""
        if self._folder is None:
            return
        payload = json.dumps(kernel.scratch).encode() + b"\n" + kernel.object_file
        tag = hashlib.sha256(key.encode() + payload).digest()
        with contextlib.suppress(TzmlError):
            write_file(self._folder / key, tag + payload, durable=False)
