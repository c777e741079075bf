"""What becomes of a model, before it is compiled: what would be refused, what memory it takes, where it is split.

All is done that `compile` does, but for machine code: a kernel is only looked at for the memory that it takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tzml.bundle import Bundle, Library, Tensor
from tzml.bundle.streaming import bytes_loaded
from tzml.compiler.codegen.kernel_cache import CompiledKernel
from tzml.compiler.fit import fit
from tzml.compiler.frontends import Inputs, RefusedLayer, recognise, survey_file
from tzml.compiler.frontends.checks import Warn
from tzml.compiler.ir.errors import CompileError, explained
from tzml.compiler.ir.graph import Graph, GraphProgram, kernels_of
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import numbers_of
from tzml.compiler.ir.limits import NO_LIMITS, Limits
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.ir.rewrite import bindings_of
from tzml.compiler.ir.targets import TARGETS
from tzml.compiler.lower import lower, prepare, within_limits
from tzml.compiler.passes.layers import SourceLayer, find_layers
from tzml.compiler.passes.tile_rows import widest_layer
from tzml.compiler.planning.code_memory import TA_MEMORY
from tzml.compiler.planning.program import plan_programs

_KERNEL_CODE = 4096
"""Bytes of a kernel's code and its row in the table: rounded up from what the zoo's networks have on the mean."""


@dataclass(frozen=True)
class CheckedLayer:
    """A layer of the source, and in how many parts it is computed: of its weights, or strips of its rows."""

    layer: SourceLayer
    parts: int


@dataclass(frozen=True)
class CheckedMemory:
    """Bytes of secure memory that the model takes; that of code is an estimate, and so is the sum.

    `weights` stay or are loaded over each other; `streamed` bytes of them are loaded in each inference.
    """

    total: int
    arena: int
    weights: int
    code: int
    streamed: int


@dataclass(frozen=True)
class ModelCheck:
    """What was found out: `memory` is None for a model that would be refused, `layers` has those that are known."""

    format: str
    refusals: list[RefusedLayer]
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    layers: tuple[CheckedLayer, ...] = ()
    calls: int = 0
    memory: CheckedMemory | None = None


def check_model(
    path: Path,
    target: str,
    secure_memory: int,
    inputs: Inputs,
    progress: Progress = no_progress,
    warn: Warn = lambda _: None,
    weights: str = "",
) -> ModelCheck:
    """Look at the model in `path`, of any format that tzml.compiler.frontends knows, for a target in TARGETS.

    Raises CompileError for what is no model.
    """
    kind = recognise(path).value
    progress("importing")
    imported, refusals = survey_file(path, inputs, warn, weights)
    if imported is None:
        return ModelCheck(kind, refusals)
    layers: list[SourceLayer] = []
    limits = NO_LIMITS

    def within(new: Limits) -> tuple[GraphProgram, Bundle]:
        nonlocal limits
        limits = new
        return _planned(simplified, target, limits, kernels, progress)

    kernels: dict[str, CompiledKernel] = {}
    try:
        with explained(f"{path.name} cannot be compiled"):
            progress("simplifying")
            simplified = prepare(imported, TARGETS[target].tvm)
            layers = find_layers(simplified)
            bundle = fit(within, secure_memory, widest_layer(simplified.module))
            parts = _parts(simplified, limits)
    except CompileError as error:
        return ModelCheck(
            kind, [RefusedLayer("", "", str(error))], layers=tuple(CheckedLayer(layer, 1) for layer in layers)
        )
    memory = bundle.memory
    return ModelCheck(
        kind,
        [],
        tuple(bundle.inputs()),
        tuple(bundle.outputs()),
        tuple(CheckedLayer(layer, _most(layer, parts)) for layer in layers),
        len(bundle.program.calls),
        CheckedMemory(
            bundle.secure_memory,
            memory.arena_size,
            memory.weights_size,
            bundle.code_memory,
            bytes_loaded(bundle.program, memory),
        ),
    )


def _planned(
    imported: Imported, target: str, limits: Limits, kernels: dict[str, CompiledKernel], progress: Progress
) -> tuple[GraphProgram, Bundle]:
    """The program, and its bundle with all weights resident, whose library has no code."""
    graph = lower(imported, TARGETS[target].tvm, limits, progress=progress, planned=kernels)
    if not graph.calls:
        raise CompileError("nothing is left to compute once constants are folded")
    program = GraphProgram("main", graph)
    planned = plan_programs([program], bytes(32))
    return program, Bundle(
        target=TARGETS[target].processor,
        tensors=planned.tensors,
        programs=planned.programs,
        memories=(planned.memory,),
        libraries=(Library(b"", b"none"),),
        chunks=planned.chunks,
        pieces=planned.pieces,
        code_memory=TA_MEMORY + _code(graph) if TARGETS[target].has_tee else 0,
    )


def _code(graph: Graph) -> int:
    return len(kernels_of([graph])) * _KERNEL_CODE


def _parts(imported: Imported, limits: Limits) -> Counter[tuple[str, int]]:
    """How often each operator occurs for each operator of the source, once layers are cut for these limits."""
    module = within_limits(imported.module, limits)
    return _occurrences(bindings_of(module["main"]))


def _occurrences(bindings: Sequence[Any]) -> Counter[tuple[str, int]]:
    numbers = numbers_of([binding.var for binding in bindings])
    return Counter(
        (binding.value.op.name, number)
        for binding, number in zip(bindings, numbers, strict=True)
        if hasattr(binding.value, "op") and hasattr(binding.value.op, "name")
    )


def _most(layer: SourceLayer, parts: Counter[tuple[str, int]]) -> int:
    """In how many parts a layer is computed: as often as its operators occur more than in the source."""
    before = _occurrences(layer.bindings)
    return max((parts[key] // count for key, count in before.items()), default=1) or 1
