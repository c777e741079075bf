# SPDX-License-Identifier: Apache-2.0
"""A root file system that somebody else has made from the same packages, from the cache that they publish."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import bootstrap, fetch
from .cachemirror import CacheMirror


def take(d: Any) -> None:
    """Before do_bootstrap of debian-rootfs: put what it would make into the cache, if a mirror has it."""
    mirror = CacheMirror.of(d, fetch.network_environment(d))
    (record,) = fetch.records(d)
    # private there: the file is part of the key, so any change to it makes all root file systems anew
    name = f"{bootstrap._key(d, record)}.tar.zst"
    cached = Path(d.getVar("ROOTFS_CACHE_DIR"), name)
    if mirror and not cached.exists():
        mirror.rootfs(name, cached)
