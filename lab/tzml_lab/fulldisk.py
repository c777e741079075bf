"""A target whose disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tzml_lab.timescale import scaled

# on the target, on the file system that is filled
_FILL, _REST = "/root/fill", "/root/rest"


@contextmanager
def full_disk(command: Any) -> Iterator[None]:
    """While this lasts, nothing more can be written on the target; `command` is labgrid's, which runs commands."""
    # takes all there is before it fails, and writes none of it
    command.run(f"fallocate -l 1T {_FILL}; dd if=/dev/zero of={_REST} bs=4k; sync", timeout=scaled(120))
    try:
        yield
    finally:
        command.run_check(f"rm -f {_FILL} {_REST}")
