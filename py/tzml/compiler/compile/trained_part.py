"""A model whose last layers run and are trained in the secure world, behind layers that stay as they are.

What goes in is computed in the normal world, by layers that anybody may know. Nothing comes out but the model's
outputs, and what training says of a micro-batch: neither activations nor gradients cross to the normal world.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tzml.bundle import Bundle, Role, Worlds
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.imported import Imported
from tzml.compiler.partition import describe_range, partition
from tzml.compiler.passes.layer_range import parse_range
from tzml.compiler.passes.layers import SourceLayer, find_layers
from tzml.compiler.passes.training import EXAMPLES, TrainingProgram, TrainOptions, for_examples
from tzml.compiler.planning.join import join

_ATTEMPTS = 4


@dataclass(frozen=True)
class TrainedPart:
    """A model cut before the layers that are trained.

    Attributes:
        secure: those layers; its inputs are what crosses, for one example
        examples: names of its inputs where they are for a micro-batch
        options: how it is trained; frozen layers are counted in it
        programs_before: what the normal world runs before each program of the secure part that takes examples
        worlds: of the programs before, and of the secure ones
        outside: the layers before

    """

    secure: Imported
    examples: tuple[str, ...]
    options: TrainOptions
    programs_before: tuple[TrainingProgram, ...]
    worlds: tuple[Worlds, Worlds]
    outside: tuple[SourceLayer, ...] = ()


def cut_trained(imported: Imported, text: str, train: TrainOptions, everywhere: bool = False) -> TrainedPart:
    """Cut a simplified model before the layers that `text` says, which must be its last. Raises CompileError.

    `everywhere` is as in partition.partition.
    """
    layers = find_layers(imported)
    inside = parse_range(text, layers)
    if inside.stop != len(layers):
        raise CompileError(
            f"{describe_range([layers[i] for i in inside])} would be trained in the TEE, and layers behind them "
            "are outside: gradients would have to come from there",
            f"give the last layers, as in --tee {inside.start + 1}:{len(layers)}",
        )
    cut_model = partition(imported, text, everywhere)
    secure = replace(cut_model.secure, sources=imported.sources, quantization=imported.quantization)
    options = replace(train, freeze=_frozen_inside(train.freeze, layers, inside))
    worlds = cut_model.parts[0][1], cut_model.parts[-1][1]
    if len(cut_model.parts) == 1:
        return TrainedPart(secure, (EXAMPLES,), options, (), worlds)
    before = cut_model.parts[0][0]
    names = {name: f"{EXAMPLES}_{i}" for i, name in enumerate(before.output_names, 1)}
    examples = tuple(EXAMPLES if name in imported.input_names else names[name] for name in secure.input_names)
    batch = for_examples(before, train.micro_batch, [EXAMPLES] * len(before.input_names), list(names.values()))
    programs = (
        TrainingProgram("infer_before", Role.infer, before),
        TrainingProgram("accumulate_before", Role.accumulate, batch),
        TrainingProgram("evaluate_before", Role.evaluate, batch),
    )
    return TrainedPart(secure, examples, options, programs, worlds, tuple(layers[: inside.start]))


def join_trained(
    trained: TrainedPart, before: Bundle | None, compile_secure: Callable[[int], Bundle], budget: int
) -> Bundle:
    """The bundle of both parts, whose secure part takes at most `budget` bytes of secure memory.

    `compile_secure` is given the bytes that it may take by itself. Raises CompileError where it does not fit.
    """
    entries = {"infer_before": 0, "accumulate_before": 1, "evaluate_before": 3}  # as in training_programs
    if before:
        programs = [replace(program, entry=entries[program.name]) for program in before.programs]
        before = replace(before, programs=tuple(programs))
    rest = budget
    for _ in range(_ATTEMPTS):
        secure = compile_secure(rest)
        outputs = [secure.tensors[port.tensor].name for program in secure.programs for port in program.outputs]
        parts = list(zip(filter(None, (before, secure)), _worlds(trained, before), strict=True))
        joined = join(parts, outputs)
        over = joined.secure_memory - budget
        if over <= 0 or trained.worlds[0] == trained.worlds[1]:
            return joined
        rest -= over  # the header and the tables know of the other part, too
    raise CompileError(
        f"with the tables of both parts, the model takes {joined.secure_memory:,} bytes of secure memory, "
        f"not {budget:,}",
        "give more to --secure-memory, or fewer layers to --tee",
    )


def _worlds(trained: TrainedPart, before: Bundle | None) -> tuple[Worlds, ...]:
    return trained.worlds if before else trained.worlds[1:]


def _frozen_inside(freeze: Sequence[str], layers: Sequence[SourceLayer], inside: range) -> tuple[str, ...]:
    """The ranges of frozen layers, as the secure part counts its layers; those outside are frozen in any case."""
    found = []
    for text in freeze:
        frozen = parse_range(text, layers)
        first, stop = max(frozen.start, inside.start), min(frozen.stop, inside.stop)
        if first < stop:
            found.append(f"{first - inside.start + 1}:{stop - inside.start}")
    return tuple(found)
