"""A model that is imported once, and of which many ranges of layers are compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tzml.bundle import Bundle, Worlds
from tzml.compiler.compile import CompileOptions, Tell, fitted, prepared_model
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.partition import CutModel, compile_parts, partition
from tzml.compiler.passes.cut import cut
from tzml.compiler.passes.layer_range import parse_range
from tzml.compiler.passes.layers import find_layers
from tzml.compiler.passes.passed_values import PassedValue, passed_values


@dataclass(frozen=True)
class RangeParts:
    """The bundle of a model with a range of layers in the TEE, and each part of it as a bundle of its own."""

    bundle: Bundle
    parts: tuple[tuple[Bundle, Worlds], ...]


class LayeredModel:
    """The layers of a model, in order, any range of which can be compiled. Raises CompileError."""

    def __init__(
        self,
        path: Path,
        options: CompileOptions,
        progress: Progress = no_progress,
        warn: Tell = lambda _: None,
    ) -> None:
        self.path, self.options, self.progress = path, options, progress
        self.imported, _ = prepared_model(path, options, progress, warn)
        self.layers = tuple(find_layers(self.imported))

    def range_of(self, text: str) -> range:
        """The indices of the layers that `--tee` would mean by `text`. Raises CompileError."""
        return parse_range(text, self.layers)

    def values(self) -> list[PassedValue]:
        """What passes between the layers, and what the caller gives and gets."""
        return passed_values(self.imported, self.layers)

    def whole(self, secure_memory: int | None = None) -> Bundle:
        """All layers as one program, in that many bytes of secure memory (None: any number)."""
        return self._part(self.imported, secure_memory)

    def halves(self, at: int, secure_memory: int | None = None) -> tuple[Bundle, Bundle]:
        """The layers before the layer of that index, and the others, likewise."""
        spans = [range(at), range(at, len(self.layers))]
        first, second = cut(self.imported, self.layers, spans)
        return self._part(first, secure_memory), self._part(second, secure_memory)

    def cut(self, inside: range) -> CutModel:
        """The model cut before and behind the layers of `inside`."""
        return partition(self.imported, tee_option(inside))

    def partition(self, inside: range, secure_memory: int) -> RangeParts:
        """The model with the layers of `inside` in the TEE, as `tzml compile --tee` makes it."""
        cut_model = self.cut(inside)
        made: dict[int, Bundle] = {}

        def compile_part(part: Imported, budget: int | None) -> Bundle:
            number = next(i for i, (other, _) in enumerate(cut_model.parts) if other is part)
            made[number] = self._part(part, budget)
            return made[number]

        bundle = compile_parts(cut_model, compile_part, secure_memory)
        return RangeParts(bundle, tuple((made[i], worlds) for i, (_, worlds) in enumerate(cut_model.parts)))

    def _part(self, part: Imported, budget: int | None) -> Bundle:
        return fitted(self.path, part, self.options, budget, self.progress)


def tee_option(inside: range) -> str:
    """The range as `--tee` takes it."""
    return f"{inside.start + 1}:{inside.stop}"
