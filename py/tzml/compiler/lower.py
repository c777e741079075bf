"""From a Relax module to a Graph: TVM's passes, then a walk over what they leave.

TVM 0.27 has no plain-C target. Its own packing of arguments needs TVM's runtime, so the pass list
here stops before it and hands out raw pointers instead: see `_unpack`.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tvm
from tvm import relax, s_tir, tirx, topi

from tzml.compiler.errors import CompileError
from tzml.compiler.graph import Graph
from tzml.compiler.indices import check_indices
from tzml.compiler.kernel_cache import CompiledKernel, KernelCache
from tzml.compiler.kernel_key import kernel_key, unnamed
from tzml.compiler.kernels import Isa, isa_of, schedule
from tzml.compiler.limits import NO_LIMITS, Limits
from tzml.compiler.operators import choose_kernels
from tzml.compiler.progress import Progress, no_progress
from tzml.compiler.simplify import simplify
from tzml.compiler.split import split_layers
from tzml.compiler.tile import tile_layers
from tzml.compiler.tuning.records import Tuning
from tzml.compiler.walk import JOIN, LoweredKernel, Walk, element_bytes, readable
from tzml.preprocess import Quantization

# What a kernel's local buffers take of the stack at most, in bytes; those that it has no room for become arguments.
STACK_LIMIT = 1024

PREFIX = "tzml_k_"

OPAQUE = 8
"""TVM's OpPatternKind of what nothing is fused with."""


@dataclass(frozen=True)
class Imported:
    """What a frontend makes of a model file: a Relax module whose `main` has static shapes."""

    module: Any  # tvm.IRModule
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    quantization: dict[str, Quantization] = field(default_factory=dict)


def prepare(imported: Imported, target: dict[str, str]) -> Imported:
    """The same computation with fewer operators; constants are folded."""
    with tvm.target.Target(target):
        return replace(imported, module=_simplify_passes()(simplify(imported.module)))


def lower(
    imported: Imported,
    target: dict[str, str],
    limits: Limits = NO_LIMITS,
    tuning: Tuning | None = None,
    progress: Progress = no_progress,
) -> Graph:
    """Compile every kernel of a simplified module for `target` and list the calls. Raises CompileError.

    Layers are split and tiled where they are above the limits and can be.
    """
    tvm_target, isa = tvm.target.Target(target), isa_of(target)
    with tvm_target:
        module = imported.module
        if limits.activations is not None:
            module = tile_layers(module, limits.activations)
        if limits.weights is not None:
            module = split_layers(module, limits.weights)
        module = _graph_passes()(choose_kernels(module, isa.lanes, limits.weights))
        kernels = _Kernels(module, tvm_target, isa, tuning, progress)
        walk = Walk(module, kernels.compile)
        inputs, outputs = walk.run(imported.input_names, imported.output_names)
    return Graph(tuple(inputs), tuple(outputs), tuple(walk.calls), kernels.objects)


def _simplify_passes() -> Any:
    """Fewer Relax operators that compute the same."""
    t = relax.transform
    return tvm.transform.Sequential(
        [
            t.DecomposeOpsForInference(),
            t.CanonicalizeBindings(),
        ]
    )


def _graph_passes() -> Any:
    """Relax operators to calls of tensor functions that write into buffers they are given."""
    t = relax.transform
    return tvm.transform.Sequential(
        [
            t.LegalizeOps({"relax.concat": _concat}),
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
    shape = [int(n) for n in call.ty.shape.values]
    axis = int(call.attrs.axis) % len(shape)
    attributes = {JOIN: 1, "op_pattern": OPAQUE} if fields and math.prod(shape[:axis]) == 1 else {}
    return builder.call_te(topi.concatenate, list(fields) or call.args[0], axis, primfunc_attrs=attributes)


def _kernel_passes() -> list[Any]:
    """TVM's own CPU pipeline (tvm/s_tir/pipeline.py) without the packing of arguments."""
    s, t = s_tir.transform, tirx.transform
    return [
        s.CanonicalizeLoop(),
        s.LowerInitBlock(),
        s.PlanAndUpdateBufferAllocationLocation(),
        s.ConvertBlocksToOpaque(),
        s.CompactBufferAllocation(),
        s.LowerMatchBuffer(),
        s.StmtSimplify(),
        s.AnnotateIrregularLoop(),
        s.LowerOpaqueBlock(),
        t.FlattenBuffer(),
        t.NarrowDataType(32),
        s.LoopPartition(),
        t.VectorizeLoop(True),
        t.StorageRewrite(),
        s.HoistIfThenElse(),
        t.UnrollLoop(),
        s.RenormalizeSplitPattern(),
        t.StmtSimplify(),
        t.RemoveNoOp(),
        s.RewriteUnsafeSelect(),
        t.CommonSubexprElim(),
        t.VerifyMemory(),
    ]


class _Kernels:
    """Compiles the tensor functions of a module, each once, or finds them compiled."""

    def __init__(self, module: Any, target: Any, isa: Isa, tuning: Tuning | None, progress: Progress) -> None:
        self.module = module
        self.tuning = tuning
        self.target, self.isa = target, isa
        self.progress = progress
        self.cache = KernelCache()
        self.objects: dict[str, bytes] = {}  # by symbol
        self.found: dict[str, LoweredKernel] = {}  # by the function's name in the module
        self.total = sum(isinstance(function, tirx.PrimFunc) for function in module.functions.values())

    def compile(self, name: str) -> LoweredKernel:
        """The kernel for a tensor function."""
        if name not in self.found:
            self.progress("compiling kernels", len(self.found), self.total)
            self.found[name] = self._compile(name)
        return self.found[name]

    def _compile(self, name: str) -> LoweredKernel:
        original = self.module[name]
        function = self.tuning.apply(original) if self.tuning else original
        scheduled = schedule(function, self.isa)
        key = kernel_key(function, readable(name), self.target)
        symbol = f"{PREFIX}{readable(name)}_{key[:16]}"
        if self.tuning:
            self.tuning.used[symbol] = original
        kernel = self.cache.get(key)
        if kernel is None:
            try:
                built = schedule(unnamed(function), self.isa)
                kernel = build_kernel(built.emit(), symbol, built.target(self.target))
            except CompileError:
                raise
            except Exception as error:  # TVM raises many kinds
                what = str(error).strip().splitlines() or [repr(error)]
                raise CompileError(f"TVM cannot compile {readable(name)}: {what[-1]}") from error
            self.cache.put(key, kernel)
        self.objects[symbol] = kernel.object_file
        return LoweredKernel(symbol, kernel.scratch, scheduled.packers)


def build_kernel(function: Any, symbol: str, target: Any) -> CompiledKernel:
    """Machine code of one tensor function."""
    module = tirx.transform.BindTarget(target)(tvm.IRModule({symbol: function}))
    module = tvm.transform.Sequential(_kernel_passes())(module)
    check_indices(symbol, module[symbol])
    unpacked, scratch = _unpack(module[symbol], symbol, target)
    module = tvm.IRModule({symbol: unpacked})
    module = tvm.transform.Sequential([tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()])(module)
    built = tvm.get_global_func("target.build." + target.kind.name)(module, target)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.o"
        built.write_to_file(str(path), "o")
        return CompiledKernel(path.read_bytes(), tuple(scratch))


# Kernels take pointers


def _unpack(function: Any, symbol: str, target: Any) -> tuple[Any, list[int]]:
    """`function` as int32_t symbol(pointers…), with a pointer more for each large local buffer."""
    pointers = [_pointer(buffer) for buffer in function.params]
    scratch = _Scratch()
    body = scratch.hoist(function.body)
    declared = [tirx.DeclBuffer(b, data=p) for b, p in zip(function.params, pointers, strict=True)]
    body = tirx.SeqStmt([*declared, body, tirx.Return(tirx.IntImm("int32", 0))])
    parameters = pointers + [pointer for pointer, _ in scratch.found]
    unpacked = tirx.PrimFunc(parameters, body, tvm.ir.PrimType("int32"))
    # TVM may assume that buffers do not overlap; the runtime checks that in every plan
    attributes = {"global_symbol": symbol, "target": target, "tirx.noalias": True}
    return unpacked.with_attr(attributes), [size for _, size in scratch.found]


def _pointer(buffer: Any) -> Any:
    element = tvm.ir.PrimType(str(buffer.ty.dtype.dtype))
    return tirx.Var(buffer.name + "_ptr", tvm.ir.PointerType(element, buffer.ty.storage_scope))


class _Scratch:
    """Turns local buffers into parameters, but for what fits on the stack: there is no allocator where kernels run.

    `found` are the parameters with their bytes, `on_stack` the bytes of the buffers that stay.
    """

    def __init__(self) -> None:
        self.found: list[tuple[Any, int]] = []
        self.on_stack = 0

    def hoist(self, statement: Any) -> Any:
        """The statement with the buffers hoisted."""
        if isinstance(statement, tirx.AllocBuffer):
            return self._place(statement)
        if isinstance(statement, tirx.SeqStmt):
            return tirx.SeqStmt(list(map(self.hoist, statement.seq)))
        if isinstance(statement, tirx.For):
            return tirx.For(
                statement.loop_var,
                statement.min,
                statement.extent,
                statement.kind,
                self.hoist(statement.body),
                statement.thread_binding,
                statement.annotations,
                statement.step,
            )
        if isinstance(statement, tirx.IfThenElse):
            other = statement.else_case
            return tirx.IfThenElse(
                statement.condition,
                self.hoist(statement.then_case),
                None if other is None else self.hoist(other),
            )
        if isinstance(statement, tirx.AttrStmt):
            return tirx.AttrStmt(statement.node, statement.attr_key, statement.value, self.hoist(statement.body))
        return statement

    def _place(self, statement: Any) -> Any:
        size = element_bytes(statement.buffer.ty.shape, statement.buffer.ty.dtype.dtype)
        if self.on_stack + size < STACK_LIMIT:
            self.on_stack += size
            return statement
        pointer = _pointer(statement.buffer)
        self.found.append((pointer, size))
        return tirx.DeclBuffer(statement.buffer, data=pointer)
