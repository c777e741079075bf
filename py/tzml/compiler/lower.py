"""From a Relax module to a Graph: TVM's passes, then a walk over what they leave.

TVM 0.27 has no plain-C target. Its own packing of arguments needs TVM's runtime, so the pass list
here stops before it and hands out raw pointers instead: see `_unpack`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tvm
from tvm import relax, s_tir, tirx

from tzml.bundle import Access, DType
from tzml.compiler.errors import CompileError
from tzml.compiler.graph import Buffer, Call, Graph, Kernel, Port
from tzml.compiler.indices import check_indices

# A local buffer from this size on becomes an argument; smaller ones stay on the stack (bytes).
STACK_LIMIT = 1024

PREFIX = "tzml_k_"


@dataclass(frozen=True)
class Imported:
    """What a frontend makes of a model file: a Relax module whose `main` has static shapes."""

    module: Any  # tvm.IRModule
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]


def lower(imported: Imported, target: dict[str, str]) -> Graph:
    """Compile every kernel for `target` and list the calls. Raises CompileError."""
    tvm_target = tvm.target.Target(target)
    with tvm_target:
        module = _graph_passes()(imported.module)
        functions = {g: f for g, f in module.functions.items() if isinstance(f, tirx.PrimFunc)}
        built, scratch = _build(functions, tvm_target)
    walk = _Walk(module, scratch)
    inputs, outputs = walk.run(imported)
    return Graph(inputs, outputs, tuple(walk.calls), _object_file(built))


def _graph_passes() -> Any:
    """Relax operators to calls of tensor functions that write into buffers they are given."""
    t = relax.transform
    return tvm.transform.Sequential(
        [
            t.FoldBatchnormToConv2D(),
            t.DecomposeOpsForInference(),
            t.FoldConstant(),
            t.CanonicalizeBindings(),
            t.LegalizeOps(),
            t.AnnotateTIROpPattern(),
            t.FoldConstant(),
            t.FuseOps(),
            t.FuseTIR(),
            t.DeadCodeElimination(["main"]),
            t.RewriteDataflowReshape(),
            t.ToNonDataflow(),
            t.RemovePurityChecking(),
            t.CallTIRRewrite(),
        ]
    )


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


def _build(functions: dict[Any, Any], target: Any) -> tuple[Any, dict[str, list[int]]]:
    """Machine code of the functions, and the bytes of scratch memory that each takes."""
    module = tirx.transform.BindTarget(target)(tvm.IRModule(functions))
    module = tvm.transform.Sequential(_kernel_passes())(module)
    unpacked, scratch = {}, {}
    for name, function in module.functions.items():
        check_indices(name.name_hint, function)
        unpacked[name], scratch[name.name_hint] = _unpack(function, PREFIX + name.name_hint, target)
    module = tvm.IRModule(unpacked)
    module = tvm.transform.Sequential([tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()])(module)
    return tvm.get_global_func("target.build." + target.kind.name)(module, target), scratch


def _object_file(built: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernels.o"
        built.write_to_file(str(path), "o")
        return path.read_bytes()


# Kernels take pointers


def _unpack(function: Any, symbol: str, target: Any) -> tuple[Any, list[int]]:
    """`function` as int32_t symbol(pointers…), with a pointer more for each large local buffer."""
    pointers = [_pointer(buffer) for buffer in function.params]
    found: list[tuple[Any, int]] = []
    body = _hoist(function.body, found)
    declared = [tirx.DeclBuffer(b, data=p) for b, p in zip(function.params, pointers, strict=True)]
    body = tirx.SeqStmt([*declared, body, tirx.Return(tirx.IntImm("int32", 0))])
    parameters = pointers + [pointer for pointer, _ in found]
    unpacked = tirx.PrimFunc(parameters, body, tvm.ir.PrimType("int32"))
    # TVM may assume that buffers do not overlap; the runtime checks that in every plan
    attributes = {"global_symbol": symbol, "target": target, "tirx.noalias": True}
    return unpacked.with_attr(attributes), [size for _, size in found]


def _pointer(buffer: Any) -> Any:
    element = tvm.ir.PrimType(str(buffer.ty.dtype.dtype))
    return tirx.Var(buffer.name + "_ptr", tvm.ir.PointerType(element, buffer.ty.storage_scope))


def _hoist(statement: Any, found: list[tuple[Any, int]]) -> Any:
    """Turn large local buffers into parameters: there is no allocator where kernels run."""
    if isinstance(statement, tirx.AllocBuffer):
        size = _bytes(statement.buffer.ty.shape, statement.buffer.ty.dtype.dtype)
        if size < STACK_LIMIT:
            return statement
        pointer = _pointer(statement.buffer)
        found.append((pointer, size))
        return tirx.DeclBuffer(statement.buffer, data=pointer)
    if isinstance(statement, tirx.SeqStmt):
        return tirx.SeqStmt([_hoist(part, found) for part in statement.seq])
    if isinstance(statement, tirx.For):
        return tirx.For(
            statement.loop_var,
            statement.min,
            statement.extent,
            statement.kind,
            _hoist(statement.body, found),
            statement.thread_binding,
            statement.annotations,
            statement.step,
        )
    if isinstance(statement, tirx.IfThenElse):
        other = statement.else_case
        return tirx.IfThenElse(
            statement.condition,
            _hoist(statement.then_case, found),
            None if other is None else _hoist(other, found),
        )
    if isinstance(statement, tirx.AttrStmt):
        body = _hoist(statement.body, found)
        return tirx.AttrStmt(statement.node, statement.attr_key, statement.value, body)
    return statement


def _bytes(shape: Sequence[Any], dtype: Any) -> int:
    # after StorageRewrite an element may be a vector: bits times lanes
    element = tvm.DataType(str(dtype))
    return math.prod(map(int, shape)) * element.bits * max(1, element.lanes) // 8


# The graph


class _Walk:
    """Walk over `main` as CallTIRRewrite leaves it: allocations, kernel calls, aliases."""

    def __init__(self, module: Any, scratch: dict[str, list[int]]) -> None:
        self.main = module["main"]
        self.scratch = scratch
        self.values: dict[Any, Any] = {}  # Relax variable to Buffer, or to a list for a tuple
        self.constants: dict[bytes, Buffer] = {}
        self.written: set[Buffer] = set()
        self.kernels: dict[str, Kernel] = {}
        self.calls: list[Call] = []

    def run(self, imported: Imported) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
        inputs = []
        for name, parameter in zip(imported.input_names, self.main.params, strict=True):
            buffer = Buffer(_tensor_bytes(parameter.ty))
            self.values[parameter] = buffer
            self.written.add(buffer)
            inputs.append(_port(name, parameter.ty, buffer))
        for block in self.main.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = self.value(binding.value)
        return tuple(inputs), tuple(self.outputs(imported.output_names))

    def outputs(self, names: tuple[str, ...]) -> list[Port]:
        body = self.main.body.body
        value, kind = self.value(body), body.ty
        values = value if isinstance(value, list) else [value]
        kinds = list(kind.fields) if isinstance(value, list) else [kind]
        for name, buffer in zip(names, values, strict=True):
            if buffer not in self.written:
                raise CompileError(f"output {name} does not depend on the network's inputs")
        return [_port(n, k, b) for n, k, b in zip(names, kinds, values, strict=True)]

    def value(self, expression: Any) -> Any:
        """The buffer, or list of buffers, that an expression stands for; None for a kernel call."""
        if isinstance(expression, tvm.ir.GenericConst):
            return self.constant(expression)
        if isinstance(expression, relax.Tuple):
            return [self.value(field) for field in expression.fields]
        if isinstance(expression, relax.TupleGetItem):
            return self.value(expression.tuple_value)[expression.index]
        if isinstance(expression, relax.Call):
            return self.call(expression)
        return self.values[expression]

    def constant(self, expression: Any) -> Buffer:
        data = expression.value.numpy().tobytes()
        return self.constants.setdefault(data, Buffer(len(data), data))

    def call(self, call: Any) -> Any:
        if isinstance(call.op, tvm.ir.GlobalVar):
            arguments = [self.value(a) for a in call.args if not isinstance(a, relax.Tuple)]
            return self.kernel_call(call.op.name_hint, arguments)
        if call.op.name == "relax.builtin.alloc_tensor":
            return Buffer(_bytes(call.args[0].values, call.args[1].value))
        if call.op.name == "relax.reshape":
            return self.value(call.args[0])
        raise CompileError(
            f"operator {call.op.name} was not turned into a kernel",
            "it has no implementation in TVM for processors; rewrite the layer with other operators",
        )

    def kernel_call(self, name: str, buffers: list[Buffer]) -> None:
        scratch = [Buffer(size) for size in self.scratch[name]]
        # what a kernel writes was allocated for it and holds nothing yet
        outputs = {b for b in buffers if b.data is None} - self.written
        access = [Access.write if b in outputs else Access.read for b in buffers]
        access += [Access.read | Access.write] * len(scratch)
        arguments = tuple((b.size, a) for b, a in zip([*buffers, *scratch], access, strict=True))
        kernel = self.kernels.setdefault(name, Kernel(PREFIX + name, arguments))
        if kernel.arguments != arguments:
            raise CompileError(f"kernel {name} is called in two ways; this is an error in tzml")
        self.written |= outputs
        self.calls.append(Call(kernel, (*buffers, *scratch)))


def _tensor_bytes(kind: Any) -> int:
    return _bytes(kind.shape.values if hasattr(kind.shape, "values") else kind.shape, kind.dtype)


def _port(name: str, kind: Any, buffer: Buffer) -> Port:
    shape = tuple(map(int, kind.shape.values if hasattr(kind.shape, "values") else kind.shape))
    dtype = str(kind.dtype)
    if dtype not in DType.__members__:
        raise CompileError(
            f"{name} has elements of type {dtype}", f"a bundle can have {', '.join(DType.__members__)}"
        )
    return Port(name, DType[dtype], shape, buffer)
