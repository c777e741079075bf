"""Which layers go into the TEE, as the user says it: `4:10`, `conv3..fc1`, `first`, `middle`, `last`, `all`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.passes.layers import SourceLayer

_LISTED = 24
"""Layers that an error names."""

FORMS = "give a range as 4:10 or NAME..NAME, or first, middle, last or all"


def parse_range(text: str, layers: Sequence[SourceLayer]) -> range:
    """The indices, from 0, of the layers that `text` says; numbers of layers count from 1, and both ends are in it.

    With n layers, first and last are n // 3 of them, at least one, and middle is what lies between.
    Raises CompileError for a range that does not exist; the error has the list of layers.
    """
    n, third = len(layers), max(1, len(layers) // 3)
    words = {"all": (0, n), "first": (0, third), "middle": (third, n - third), "last": (n - third, n)}
    if text in words:
        first, end = words[text]
        if first >= end:
            raise _refused(text, f"a model of {n} layers has no middle", layers)
        return range(first, end)
    ends = _ends(text, layers)
    if len(ends) > 2 or "," in text:
        raise _refused(text, "only layers that follow each other can go into the TEE", layers)
    first, last = _index(ends[0], text, layers), _index(ends[-1], text, layers)
    if first > last:
        raise _refused(text, f"layer {last + 1} comes before layer {first + 1}", layers)
    return range(first, last + 1)


def _ends(text: str, layers: Sequence[SourceLayer]) -> list[str]:
    """The two ends of a range, or the one layer; a layer's own name may have the signs of a range in it."""
    if re.fullmatch(r"\d+(:|\.\.)\d+", text):
        return re.split(r":|\.\.", text)
    known = {name for layer in layers for name in layer.names}
    if text in known:
        return [text]
    splits = [[text[: m.start()], text[m.end() :]] for m in re.finditer(r"\.\.|:", text)]
    for ends in splits:
        if all(end in known or end.isdecimal() for end in ends):
            return ends
    return re.split(r",|\.\.", text)


def _index(end: str, text: str, layers: Sequence[SourceLayer]) -> int:
    if end.isdecimal():
        if not 1 <= int(end) <= len(layers):
            raise _refused(text, f"there is no layer {int(end)}", layers)
        return int(end) - 1
    found = [layer.number for layer in layers if end == layer.name]
    found = found or [layer.number for layer in layers if end in layer.names]
    if len(found) > 1:
        raise _refused(text, f"the layers {', '.join(map(str, found))} are all called {end!r}", layers)
    if not found:
        raise _refused(text, f"there is no layer {end!r}", layers)
    return found[0] - 1


def _refused(text: str, what: str, layers: Sequence[SourceLayer]) -> CompileError:
    shown = ", ".join(f"{layer.number} {layer.name}" for layer in layers[:_LISTED])
    more = f" and {len(layers) - _LISTED} more, see `tzml inspect MODEL --layers`" if len(layers) > _LISTED else ""
    return CompileError(f"the range {text!r}: {what}; the layers are {shown}{more}", FORMS)
