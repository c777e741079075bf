"""Where things are kept that take long to make and can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(name: str) -> Path:
    """The folder for one kind of thing: in TZML_CACHE, or `tzml` in the user's cache. It exists."""
    root = os.environ.get("TZML_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = (Path(root) if root else Path(user) / "tzml") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
