"""The cache for files that take long to make and can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The cache folder `name`, which is created if needed: in TZML_CACHE, or `tzml` in the user's cache."""
    root = os.environ.get("TZML_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = (Path(root) if root else Path(user) / "tzml") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
