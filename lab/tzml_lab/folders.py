"""Where the lab finds its files, in a checkout and as an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_IN_CHECKOUT = _PACKAGE.parent.name == "lab"

DATA = _PACKAGE.parent if _IN_CHECKOUT else _PACKAGE
"""Holds `data`, `env` and `target`; setup.py puts them into the package that is installed."""

ROOT = DATA.parent if _IN_CHECKOUT else Path.cwd()
"""Holds `build` and `results`: the checkout; for an installed package, where the command was called."""
