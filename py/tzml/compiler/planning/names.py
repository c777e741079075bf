"""Names of tensors as a bundle can have them: docs/bundle.md, "Interface"."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tzml.bundle.format import MAX_NAME_SIZE
from tzml.bundle.interface import is_printable

_REPLACEMENT = "_"
_DIGITS = 8  # of the digest that keeps shortened names apart


def bundle_names(names: Sequence[str]) -> list[str]:
    """A name for each tensor: its own, unless it is too long, cannot be shown, or is another tensor's already.

    Such a name is cut down to what can be shown, with some digits of the SHA-256 of the original at its end.
    """
    found: list[str] = []
    for number, name in enumerate(names):
        fits = 0 < len(name.encode(errors="replace")) <= MAX_NAME_SIZE
        if fits and is_valid(name) and name not in (*found, *names[:number]):
            found.append(name)
            continue
        digest = hashlib.sha256(f"{number} {name}".encode(errors="surrogatepass")).hexdigest()
        ending = f"~{digest[:_DIGITS]}"
        shown = "".join(c if is_valid(c) else _REPLACEMENT for c in name).encode()
        found.append(shown[: MAX_NAME_SIZE - len(ending)].decode(errors="ignore") + ending)
    return found


def is_valid(name: str) -> bool:
    """Whether the name is well-formed Unicode without control characters."""
    return is_printable(name) and not any("\ud800" <= c <= "\udfff" for c in name)
