# SPDX-License-Identifier: Apache-2.0
"""Files of feeds: JSON, compressed or not, one or a folder of them."""

from __future__ import annotations

import gzip
import json
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tzml.errors import TzmlError
from tzml.vulnerabilities.inventory import Part

_SUFFIXES = (".json", ".json.gz", ".json.xz")
_REMEDY = "download it again: docs/image.md says which feeds this reads"


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a part, according to a feed.

    Args:
        cve: its name
        part: what has it
        severity: the feed's word for it, or ""
        fixed: the version that has it no longer, or "" if the feed names none
        unclear: why the feed does not decide it, or ""

    """

    cve: str
    part: Part
    severity: str = ""
    fixed: str = ""
    unclear: str = ""


def documents(path: Path) -> Iterator[tuple[Path, Any]]:
    """The documents of a feed: that of a file, or those of all files in a folder. Raises TzmlError."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(_SUFFIXES))
        if not files:
            raise TzmlError(
                f"{path} has no file whose name ends with {', '.join(_SUFFIXES)}", "give another folder"
            )
    for file in files:
        yield file, _load(file)


def _load(path: Path) -> Any:
    try:
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".xz":
            data = lzma.decompress(data)
        return json.loads(data)
    except OSError as error:
        raise TzmlError(f"{path} cannot be read: {error.strerror or error}", "give another file") from error
    except (EOFError, lzma.LZMAError, zlib.error, ValueError, RecursionError) as error:
        raise TzmlError(f"{path} is not a whole JSON file: {error}", _REMEDY) from error


def damaged(path: Path, place: str, wanted: str) -> TzmlError:
    """The error for a feed that is not of the form that its kind has."""
    return TzmlError(f"{path}: {place}: {wanted}", _REMEDY)
