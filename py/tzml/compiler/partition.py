"""A model of which some layers run in the secure world, and the others in the normal world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tzml.bundle import BOTH, Bundle, Worlds
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.compiler.passes.cut import cut
from tzml.compiler.passes.layer_range import parse_range
from tzml.compiler.passes.layers import SourceLayer, find_layers
from tzml.compiler.planning.join import join

_ATTEMPTS = 4

CompilePart = Callable[[Imported, int | None], Bundle]
"""From a part of a model, and the bytes of secure memory that it may take (None: any number), to its bundle."""


@dataclass(frozen=True)
class CutModel:
    """A model cut into parts, each with its world; `inside` are the layers of the secure one, `secure`."""

    parts: tuple[tuple[Imported, Worlds], ...]
    secure: Imported
    inside: tuple[SourceLayer, ...]
    outputs: tuple[str, ...]

    @property
    def is_oracle(self) -> bool:
        """Whether the result of the secure layers crosses to the normal world, where others go on with it."""
        return any(name not in self.outputs for name in self.secure.output_names)


def partition(imported: Imported, text: str, everywhere: bool = False) -> CutModel:
    """Cut a simplified model before and behind the layers that `text` says.

    With `everywhere`, for tests and measurements, each part can run in either world. Raises CompileError.
    """
    layers = find_layers(imported)
    inside = parse_range(text, layers)
    spans = [range(inside.start), inside, range(inside.stop, len(layers))]
    worlds = [Worlds.ree, Worlds.tee, Worlds.ree]
    kept = [(span, of) for span, of in zip(spans, worlds, strict=True) if span]
    parts = list(zip(cut(imported, layers, [span for span, _ in kept]), (of for _, of in kept), strict=True))
    return CutModel(
        tuple((part, BOTH if everywhere else of) for part, of in parts),
        next(part for part, of in parts if of == Worlds.tee),
        tuple(layers[i] for i in inside),
        imported.output_names,
    )


def compile_parts(cut_model: CutModel, compile_part: CompilePart, budget: int) -> Bundle:
    """The bundle of all parts, whose secure part takes at most `budget` bytes of secure memory.

    The parts of the normal world have no limit. Raises CompileError where the secure part does not fit.
    """
    normal = {
        number: compile_part(part, None)
        for number, (part, worlds) in enumerate(cut_model.parts)
        if not worlds & Worlds.tee
    }
    rest = budget
    for _ in range(_ATTEMPTS):
        found: list[tuple[Bundle, Worlds]] = []
        for number, (part, worlds) in enumerate(cut_model.parts):
            found.append((normal[number] if number in normal else compile_part(part, rest), worlds))
        joined = join(found, cut_model.outputs)
        over = joined.secure_memory - budget
        if over <= 0 or all(worlds == BOTH for _, worlds in cut_model.parts):
            return joined
        rest -= over  # the header and the tables know of the other parts, too
    raise CompileError(
        f"with the tables of all parts, the model takes {joined.secure_memory:,} bytes of secure memory, "
        f"not {budget:,}",
        "give more to --secure-memory, or fewer layers to --tee",
    )


def describe_range(layers: Sequence[SourceLayer]) -> str:
    """The layers in words."""
    first, last = layers[0], layers[-1]
    if first is last:
        return f"layer {first.number} ({first.name})"
    return f"layers {first.number} to {last.number} ({first.name} to {last.name})"
