# SPDX-License-Identifier: Apache-2.0
"""Files and folders that a task writes either exist completely or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: str | bytes, mode: int = 0o644) -> None:
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_atomically(path, mode) as new:
        new.write_bytes(data)


@contextmanager
def written_atomically(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """A temporary file that is renamed to `path` if the block ends without an exception."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    new = Path(name)
    try:
        yield new
        new.chmod(mode)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link if the file system allows it, or else a copy. Never write to either in place."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        with written_atomically(target) as new:
            shutil.copyfile(source, new)


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def replace_tree(source: Path, target: Path) -> None:
    """Replace `target` with a copy of `source` made of hard links, in one step."""
    new = target.with_name(f"{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, new, symlinks=True, copy_function=copy_entry)
    shutil.rmtree(target, ignore_errors=True)
    new.rename(target)


def copy_entry(source: str, target: str) -> None:
    link_or_copy(Path(source), Path(target))
