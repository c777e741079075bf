"""Zip archives that nobody vouches for."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from tzml.bundle.format import MAX_MEMORY
from tzml.compiler.frontends.errors import malformed
from tzml.compiler.ir.errors import CompileError

# Weights hardly get smaller when they are compressed; a file that grows more than this is made to do so.
MAX_GROWTH = 200
SMALL = 64 << 20
MAX_JSON = 256 << 20


def check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """Raise CompileError for an archive that would fill memory or disk when it is unpacked.

    Reading an entry stops at the size that the archive's directory gives, so these sizes can be relied on.
    """
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > MAX_MEMORY or unpacked > SMALL + MAX_GROWTH * path.stat().st_size:
        raise CompileError(
            f"{path} has {path.stat().st_size:,} bytes, and {unpacked:,} when it is unpacked",
            "export the model again",
        )


def read_json(archive: zipfile.ZipFile, name: str, path: Path, kind: str) -> dict[str, Any]:
    """A JSON object of the archive. Raises CompileError."""
    try:
        entry = archive.getinfo(name)
        if entry.file_size > MAX_JSON:
            raise malformed(path, kind, f"{name} has {entry.file_size:,} bytes")
        found = json.loads(archive.read(entry))
    except (KeyError, ValueError, RecursionError, zipfile.BadZipFile, zlib.error) as error:
        raise malformed(path, kind, error) from error
    if not isinstance(found, dict):
        raise malformed(path, kind, f"{name} is no JSON object")
    return found
