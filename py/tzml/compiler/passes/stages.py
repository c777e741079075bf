"""A model cut into stages that follow each other, each for a TEE of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.compiler.passes.cut import cut
from tzml.compiler.passes.layer_range import parse_range
from tzml.compiler.passes.layers import SourceLayer, find_layers

_FORMS = "give the number of stages, as in 3, or their layers, as in 1:4,5:9 (`tzml inspect MODEL --layers`)"


def cut_stages(imported: Imported, text: str) -> list[Imported]:
    """Cut a simplified model into stages, of which each takes exactly what the one before it gives.

    `text` is their number, or the layers of each, as in "1:4,5:9". A number balances the bytes of weights, which a
    stage is to keep resident, and cuts only where one value crosses. Raises CompileError.
    """
    layers = find_layers(imported)
    spans = _balanced(imported, layers, int(text)) if text.isdecimal() else _given(text, layers)
    parts = cut(imported, layers, spans)
    for number, (before, part) in enumerate(itertools.pairwise(parts), 1):
        if part.input_names != before.output_names:
            skipped = sorted({*part.input_names} ^ {*before.output_names}) or [
                "more than one value, in another order"
            ]
            raise CompileError(
                f"stage {number} cannot follow stage {number - 1}: it needs {', '.join(part.input_names)}, and "
                f"gets {', '.join(before.output_names)} ({skipped[0]} passes by)",
                "cut where one value crosses, as before a residual block; a number of stages does so by itself",
            )
    return parts


def _given(text: str, layers: Sequence[SourceLayer]) -> list[range]:
    spans = [parse_range(part, layers) for part in text.split(",")]
    ends = [0, *(span.stop for span in spans)]
    if [span.start for span in spans] != ends[:-1] or ends[-1] != len(layers):
        raise CompileError(
            f"the stages {text!r} do not take each of the {len(layers)} layers once, in order", _FORMS
        )
    return spans


def _balanced(imported: Imported, layers: Sequence[SourceLayer], count: int) -> list[range]:
    """The spans whose largest has the fewest bytes of weights."""
    if count == 1:
        return [range(len(layers))]
    if count < 1:
        raise CompileError(f"{count} is no number of stages", _FORMS)
    places = [0, *_clean_places(imported, layers), len(layers)]
    if len(places) - 2 < count - 1:
        raise CompileError(
            f"the model can be cut at {len(places) - 2} place(s) where one value crosses, not at {count - 1}",
            "give fewer stages",
        )
    sums = [0, *itertools.accumulate(layer.weights for layer in layers)]
    # for each place, the best way to have got there with so many stages: the largest of them, and the places
    best: dict[int, tuple[int, list[int]]] = {0: (0, [0])}
    for stage in range(count):
        reached: dict[int, tuple[int, list[int]]] = {}
        for place in places[stage + 1 :]:
            ways = [
                (max(largest, sums[place] - sums[start]), [*way, place])
                for start, (largest, way) in best.items()
                if start < place
            ]
            if ways:
                reached[place] = min(ways)
        best = reached
    _, way = best[len(layers)]
    return [range(*ends) for ends in itertools.pairwise(way)]


def _clean_places(imported: Imported, layers: Sequence[SourceLayer]) -> list[int]:
    """Where one value crosses, and nothing else: the numbers of layers before the cut."""

    def is_clean(place: int) -> bool:
        try:
            before, after = cut(imported, layers, [range(place), range(place, len(layers))])
        except CompileError:
            return False
        return len(after.input_names) == 1 and after.input_names == before.output_names

    return [place for place in range(1, len(layers)) if is_clean(place)]
