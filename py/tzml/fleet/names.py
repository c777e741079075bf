"""What a repository of the fleet calls its files."""

from __future__ import annotations

import re

from tzml.errors import TzmlError


def _checked(name: str, what: str) -> str:
    """A name that is a part of a path and nothing else. Raises TzmlError."""
    if not re.fullmatch(r"\w[\w.-]{0,127}", name, re.ASCII):
        raise TzmlError(f"{name!r} is not the name of a {what}", "use letters, digits, and - _ . inside")
    return name


def bundle_target(model: str) -> str:
    """The bundle of a model. Raises TzmlError."""
    return f"{_checked(model, 'model')}/model.tzm"


def grant_target(model: str, device: str) -> str:
    """A device's grant for it. Raises TzmlError."""
    return f"{_checked(model, 'model')}/{_checked(device, 'device')}.tzg"
