"""From a tensor function to machine code.

TVM 0.27 has no plain-C target. Its own packing of arguments needs TVM's runtime, so the pass list
here stops before it and hands out raw pointers instead: see `_unpack`.
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from tzml.compiler.codegen.build_graph import LoweredKernel
from tzml.compiler.codegen.in_order.assemble import assemble, is_in_order
from tzml.compiler.codegen.in_order.rewrite import for_in_order_core
from tzml.compiler.codegen.kernel_cache import CompiledKernel, KernelCache
from tzml.compiler.codegen.kernel_key import called, name_kernel, readable, unnamed
from tzml.compiler.codegen.kernels import Isa, schedule
from tzml.compiler.codegen.kernels.functions import check_float64
from tzml.compiler.codegen.load_both import load_both
from tzml.compiler.codegen.nan import keep_nan
from tzml.compiler.codegen.refuse_indirect import check_indices
from tzml.compiler.codegen.scratch import Scratch, pointer_to
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.ir.errors import explained
from tzml.compiler.ir.progress import Progress
from tzml.compiler.ir.tvm_internals import assembly, object_file

_NO_LOOPS_IN_VECTORS = ["-vectorize-loops:bool=0"]
"""Options of LLVM."""


class KernelBuilder:
    """Compiles the tensor functions of a module, each once, or finds them compiled.

    `objects` has the object file of each kernel, by its symbol. With `planned`, kernels that are not found compiled
    are only looked at for the memory that they take, and kept there; their object files are empty.
    """

    def __init__(
        self,
        module: Any,
        target: Any,
        isa: Isa,
        tuning: Tuning | None,
        progress: Progress,
        planned: dict[str, CompiledKernel] | None = None,
    ) -> None:
        self.planned = planned
        self.module = module
        self.tuning = tuning
        self.target, self.isa = target, isa
        self.progress = progress
        self.cache = KernelCache()
        self.objects: dict[str, bytes] = {}  # by symbol
        self.found: dict[str, LoweredKernel] = {}  # by the function's name in the module
        self.total = sum(isinstance(function, tirx.PrimFunc) for function in module.functions.values())

    def compile(self, name: str) -> LoweredKernel:
        """The kernel for the tensor function of that name. Raises CompileError."""
        if name not in self.found:
            self.progress(f"compiling kernels: {readable(name)}", len(self.found), self.total)
            self.found[name] = self._compile(name)
        return self.found[name]

    def _compile(self, name: str) -> LoweredKernel:
        original = self.module[name]
        function = self.tuning.apply(original) if self.tuning else original
        scheduled = schedule(function, self.isa)
        symbol, key = name_kernel(function, readable(name), self.target)
        if self.tuning:
            self.tuning.used[symbol] = original
        kernel = self.cache.get(key) or (self.planned or {}).get(key)
        if kernel is None:
            with explained(f"{readable(name)} cannot be compiled for this processor"):
                built = schedule(unnamed(function), self.isa)
                build = build_kernel if self.planned is None else plan_kernel
                kernel = build(built.emit(), symbol, built.target(self.target))
            if self.planned is None:
                self.cache.put(key, kernel)
            else:
                self.planned[key] = kernel
        self.objects[symbol] = kernel.object_file
        return LoweredKernel(symbol, kernel.scratch, scheduled.packers)


def build_kernel(function: Any, symbol: str, target: Any, *, as_llvm: bool = False) -> CompiledKernel:
    """Machine code of one tensor function, under that name, as `int32_t symbol(void *, …)`.

    With `as_llvm`, loops stay as LLVM orders them for a core that starts instructions in order.
    A pointer is a buffer of the function, in their order; behind them are those of scratch memory. Raises
    CompileError for a function that indexes by its data without a limit, and whatever TVM raises.
    """
    unpacked, scratch = _lower_kernel(function, symbol, target)
    module = tvm.IRModule({symbol: unpacked})
    module = tvm.transform.Sequential([tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()])(module)
    lowered = keep_nan(module[symbol], target)
    module, target = tvm.IRModule({symbol: lowered}), _for_llvm(lowered, target)
    if is_in_order(target) and not as_llvm:
        code = assemble(for_in_order_core(assembly(module, target), symbol))
    else:
        code = object_file(module, target)
    return CompiledKernel(code, tuple(scratch))


def plan_kernel(function: Any, symbol: str, target: Any) -> CompiledKernel:
    """The same without its machine code, which takes most of the time: the object file is empty."""
    return CompiledKernel(b"", tuple(_lower_kernel(function, symbol, target)[1]))


def _lower_kernel(function: Any, symbol: str, target: Any) -> tuple[Any, list[int]]:
    """The function over pointers, and the bytes of each scratch buffer among them."""
    module = tirx.transform.BindTarget(target)(tvm.IRModule({symbol: function}))
    module = tvm.transform.Sequential(_kernel_passes())(module)
    check_indices(f"the kernel {called(symbol)}", module[symbol])
    check_float64(f"the kernel {called(symbol)}", module[symbol])
    return _unpack(module[symbol], symbol, target)


def _for_llvm(function: Any, target: Any) -> Any:
    """The target, with options that keep LLVM from what it does wrong.

    LLVM 22's loop vectoriser takes `i & 3` for a counter that does not wrap, as long as a check holds that it makes
    too weak: a vector of more lanes than that reads beyond the end of what is repeated.
    """
    masks: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.BitwiseAnd, masks.append))
    return tvm.target.Target({**target.export(), "cl-opt": _NO_LOOPS_IN_VECTORS}) if masks else target


def _unpack(function: Any, symbol: str, target: Any) -> tuple[Any, list[int]]:
    """`function` as int32_t symbol(pointers…), with a pointer more for each large local buffer."""
    pointers = [pointer_to(buffer) for buffer in function.params]
    scratch = Scratch()
    body = scratch.hoist(function.body)
    declared = [tirx.DeclBuffer(b, data=p) for b, p in zip(function.params, pointers, strict=True)]
    body = tirx.SeqStmt([*declared, body, tirx.Return(tirx.IntImm("int32", 0))])
    parameters = pointers + [pointer for pointer, _ in scratch.found]
    unpacked = tirx.PrimFunc(parameters, body, tvm.ir.PrimType("int32"))
    # TVM may assume that buffers do not overlap; the runtime checks that in every plan
    attributes = {"global_symbol": symbol, "target": target, "tirx.noalias": True}
    return unpacked.with_attr(attributes), [size for _, size in scratch.found]


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
        t.prim_func_pass(lambda function, _module, _context: load_both(function), opt_level=0),
        t.CommonSubexprElim(),
        t.VerifyMemory(),
    ]
