"""From a Relax module to a Graph: TVM's passes, then a walk over what they leave."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import tvm
from tvm import relax, topi

from tzml.compiler.codegen.build_graph import JOIN, Walk
from tzml.compiler.codegen.build_kernel import KernelBuilder
from tzml.compiler.codegen.kernel_cache import CompiledKernel
from tzml.compiler.codegen.kernels import Isa, isa_of
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import Graph
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.limits import NO_LIMITS, Limits
from tzml.compiler.ir.progress import Progress, no_progress
from tzml.compiler.ir.rewrite import shape_of
from tzml.compiler.ir.shapes import result_types, static_shape
from tzml.compiler.passes.numbers_as_arguments import Legalizer
from tzml.compiler.passes.select_kernels import choose_kernels
from tzml.compiler.passes.simplify import simplify
from tzml.compiler.passes.split_layers import split_layers
from tzml.compiler.passes.tile_rows import tile_layers
from tzml.compiler.passes.timing import layers_that_tell

OPAQUE = 8
"""TVM's OpPatternKind of what nothing is fused with."""


def prepare(imported: Imported, target: dict[str, str], *, train: bool = False) -> Imported:
    """The same computation with fewer operators; constants are folded. `target` is TVM's, as a dictionary.

    With `train`, batch normalisations stay, for passes/training. Raises whatever TVM raises.
    """
    with tvm.target.Target(target):
        module = _simplify_passes(train)(simplify(imported.module, train=train))
    _check_results(imported, module)
    return replace(imported, module=module)


def lower(
    imported: Imported,
    target: dict[str, str],
    limits: Limits = NO_LIMITS,
    tuning: Tuning | None = None,
    progress: Progress = no_progress,
    planned: dict[str, CompiledKernel] | None = None,
) -> Graph:
    """Compile every kernel of a module that `prepare` has made for `target`, and list the calls.

    With `planned`, what is known of kernels by their names in the cache, they are not compiled: it is only found
    out what memory they take.

    Layers are split and tiled where they are above the limits and can be. `tuning` has schedules for some kernels.
    Raises CompileError where an operator has no implementation, or a kernel would leave its buffers; and whatever
    TVM raises.
    """
    tvm_target, isa = tvm.target.Target(target), isa_of(target)
    with tvm_target:
        module = to_tensor_functions(imported.module, isa, limits)
        _check_results(imported, module)
        kernels = KernelBuilder(module, tvm_target, isa, tuning, progress, planned)
        walk = Walk(module, kernels.compile)
        inputs, outputs = walk.run(imported.input_names, imported.output_names, imported.state)
    timing = layers_that_tell(imported)
    calls = tuple(walk.calls)
    return Graph(tuple(inputs), tuple(outputs), calls, kernels.objects, imported.state, timing, imported.random)


def _check_results(imported: Imported, module: Any) -> None:
    """Raise CompileError if a pass has given an output another type.

    Some of TVM's operators promise a dtype and compute another one, such as the mean of int32 (relax.mean).
    """
    promised, made = _results(imported.module), _results(module)
    for name, wanted, found in zip(imported.output_names, promised, made, strict=False):
        if found != wanted:
            raise CompileError(f"output {name} would be {found}, and not {wanted}; this is an error in tzml")


def _results(module: Any) -> list[str]:
    """Dtypes and shapes, as a user reads them."""
    return [f"{kind.dtype}{list(static_shape(kind))}" for kind in result_types(module)]


def to_tensor_functions(module: Any, isa: Isa, limits: Limits = NO_LIMITS) -> Any:
    """A simplified module whose `main` is calls of tensor functions, one a kernel, in the order of an inference.

    To be called with a TVM target as the current one.
    """
    return _graph_passes()(choose_kernels(within_limits(module, limits), isa.lanes, limits.weights))


def within_limits(module: Any, limits: Limits) -> Any:
    """A simplified module with its layers tiled and split where they are above the limits and can be."""
    if limits.activations is not None:
        module = tile_layers(module, limits.activations)
    if limits.weights is not None:
        module = split_layers(module, limits.weights)
    return module


def _simplify_passes(train: bool) -> Any:
    """Fewer Relax operators that compute the same."""
    t = relax.transform
    decompose = [] if train else [t.DecomposeOpsForInference()]  # also batch normalisations
    return tvm.transform.Sequential([*decompose, t.CanonicalizeBindings()])


def _graph_passes() -> Any:
    """Relax operators to calls of tensor functions that write into buffers they are given."""
    t = relax.transform
    return tvm.transform.Sequential(
        [
            t.LegalizeOps({**Legalizer().rules(), "relax.concat": _concat}),
            t.AnnotateTIROpPattern(),
            t.FuseOps(),
            t.FuseTIR(),
            t.DeadCodeElimination(["main"]),
            t.RewriteDataflowReshape(),
            t.ToNonDataflow(),
            t.RemovePurityChecking(),
            t.CallTIRRewrite(),
        ]
    )


def _concat(builder: Any, call: Any) -> Any:
    """Concatenation; marked, and kept from being fused, where the parts lie back to back in the result."""
    fields = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else []
    shape = shape_of(call)
    axis = int(call.attrs.axis) % len(shape)
    attributes = {JOIN: 1, "op_pattern": OPAQUE} if fields and math.prod(shape[:axis]) == 1 else {}
    return builder.call_te(topi.concatenate, list(fields) or call.args[0], axis, primfunc_attrs=attributes)
