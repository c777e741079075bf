"""From a lowered Relax function to buffers and calls of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from numpy.typing import NDArray
from tvm import relax

from tzml.bundle import Access, DType
from tzml.bundle.format import ALIGNMENT
from tzml.compiler.codegen.kernel_key import readable
from tzml.compiler.codegen.kernels import IN_PLACE, Packer
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import Buffer, GraphCall, GraphPort, Kernel, StateBuffer
from tzml.compiler.ir.shapes import element_bytes, static_shape
from tzml.compiler.ir.tvm_internals import identity

JOIN = "tzml.join"
"""Attribute of a tensor function that only copies its arguments but the last, back to back, to the last.

The walk lets those who write the arguments write to the last one, and drops the call where it can.
"""


@dataclass(frozen=True)
class LoweredKernel:
    """A compiled kernel's symbol, the bytes of each scratch buffer that it takes, and by the positions of
    constants among its arguments, how they must be rearranged for it.
    """

    symbol: str
    scratch: Sequence[int]
    packers: Mapping[int, Packer]


@dataclass(frozen=True)
class _Constant:
    """A constant of Relax in one order. It is kept here, lest another one gets its identity."""

    expression: Any
    pack: Packer
    buffer: Buffer


CompileKernel = Callable[[str], LoweredKernel]
"""From a tensor function's name to its kernel."""


class Walk:
    """A walk over `main` as CallTIRRewrite leaves it: allocations, kernel calls, aliases.

    After `run`, `calls` has the calls of one inference in order, without those whose only effect would be to copy
    values to where they can be written at once.
    """

    def __init__(self, module: Any, compile_kernel: CompileKernel) -> None:
        self.module = module
        self.main = module["main"]
        self.compile_kernel = compile_kernel
        self.values: dict[Any, Any] = {}  # Relax variable to Buffer, or to a list for a tuple
        self.constants: dict[int, list[_Constant]] = {}  # by the identity of Relax's constant
        self.written: set[Buffer] = set()
        self.joined: dict[tuple[Buffer, ...], Buffer] = {}
        self.inside: set[Buffer] = set()  # buffers that are parts of others
        self.kernels: dict[str, Kernel] = {}
        self.calls: list[GraphCall] = []

    def run(
        self, input_names: Sequence[str], output_names: Sequence[str], state: Sequence[StateBuffer] = ()
    ) -> tuple[list[GraphPort], list[GraphPort]]:
        """Fill `calls`. Returns the network's inputs and outputs, with these names.

        `state` are the buffers of the parameters behind the inputs.

        Raises CompileError for an operator that is no kernel, an output that depends on no input, and an input or
        output of a dtype that a bundle cannot have.
        """
        inputs = []
        parameters = list(self.main.params)
        for name, parameter in zip(input_names, parameters[: len(input_names)], strict=True):
            buffer = Buffer(_tensor_bytes(parameter.ty))
            self.values[parameter] = buffer
            self.written.add(buffer)
            inputs.append(_port(name, parameter.ty, buffer))
        for buffer, parameter in zip(state, parameters[len(input_names) :], strict=True):
            self.values[parameter] = buffer
            self.written.add(buffer)
        for block in self.main.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = self.value(binding.value)
        return inputs, self.outputs(output_names)

    def outputs(self, names: Sequence[str]) -> list[GraphPort]:
        """The result of `main`, which is one tensor or a tuple of them; those without a name are of the state."""
        body = self.main.body.body
        value, kind = self.value(body), body.ty
        values = value if isinstance(value, list) else [value]
        kinds = list(kind.fields) if isinstance(value, list) else [kind]
        for name, buffer in zip(names, values, strict=False):
            if buffer not in self.written:
                raise CompileError(f"output {name} does not depend on the network's inputs")
        if not all(isinstance(buffer, StateBuffer) for buffer in values[len(names) :]):
            raise CompileError("a value is lost; this is an error in tzml")
        return [_port(n, k, b) for n, k, b in zip(names, kinds, values, strict=False)]

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

    def constant(self, expression: Any, pack: Packer = np.asarray) -> Buffer:
        """The buffer of a constant of Relax, rearranged by `pack`.

        It is shared by all that need the same constant in the same order, and never with one that only has the
        same numbers: a bundle's sections would tell that.
        """
        known = self.constants.setdefault(identity(expression), [])
        for other in known:
            if other.pack is pack or _same_order(other.pack, pack, expression.value.numpy()):
                return other.buffer
        data = pack(expression.value.numpy()).tobytes()
        known.append(_Constant(expression, pack, Buffer(len(data), data)))
        return known[-1].buffer

    def call(self, call: Any) -> Any:
        """What a call stands for: the buffer it allocates or another name of it has; None for that of a kernel."""
        if isinstance(call.op, tvm.ir.GlobalVar):
            arguments = [a for a in call.args if not isinstance(a, relax.Tuple)]
            buffers = [self.value(a) for a in arguments]
            attributes = self.module[call.op].attrs or {}
            if not (attributes.get(JOIN) and self.join(arguments[-1], buffers)):
                kernel = self.compile_kernel(call.op.name_hint)
                for position, pack in kernel.packers.items():
                    buffers[position] = self.constant(arguments[position], pack)
                in_place = int(attributes.get(IN_PLACE, 0))
                shape = static_shape(arguments[0 if in_place else -1].ty)
                self.kernel_call(call.op.name_hint, kernel, buffers, shape, in_place)
            return None
        if call.op.name == "relax.builtin.alloc_tensor":
            return Buffer(element_bytes(call.args[0].values, call.args[1].value))
        if call.op.name == "relax.reshape":
            return self.value(call.args[0])
        raise CompileError(
            f"there is no kernel for {call.op.name.removeprefix('relax.')}",
            "rewrite the layer with other operators",
        )

    def join(self, variable: Any, buffers: list[Buffer]) -> bool:
        """Let `variable` consist of all buffers but the last, which was allocated for it, if that can be."""
        *parts, whole = buffers
        for count in range(len(parts), 1, -1):  # what was joined before can be a part as it is
            if tuple(parts[:count]) in self.joined:
                parts[:count] = [self.joined[tuple(parts[:count])]]
        if len(parts) == 1:
            self.values[variable] = parts[0]
            return True
        free = all(part.in_arena and part not in self.inside for part in parts)
        aligned = all(part.size % ALIGNMENT == 0 for part in parts[:-1])
        if not (free and aligned and len(set(parts)) == len(parts) and sum(p.size for p in parts) == whole.size):
            return False
        whole.parts = tuple(parts)
        self.inside.update(parts)
        self.written.add(whole)
        self.joined[whole.parts] = whole
        return True

    def kernel_call(
        self, name: str, lowered: LoweredKernel, buffers: list[Buffer], shape: tuple[int, ...], in_place: int
    ) -> None:
        """Add a call of a kernel with these buffers and some for its scratch memory; `shape` is its result's.

        The first `in_place` buffers are read and written.
        """
        scratch = [Buffer(size) for size in lowered.scratch]
        # what a kernel writes was allocated for it and holds nothing yet
        outputs = {b for b in buffers if b.in_arena} - self.written
        access = [Access.write if b in outputs else Access.read for b in buffers]
        access[:in_place] = [Access.read | Access.write] * in_place
        access += [Access.write] * len(scratch)  # a kernel reads there only what it wrote itself
        arguments = tuple((b.size, a) for b, a in zip([*buffers, *scratch], access, strict=True))
        kernel = self.kernels.setdefault(lowered.symbol, Kernel(lowered.symbol, arguments))
        if kernel.arguments != arguments:
            raise CompileError(f"kernel {name} is called in two ways; this is an error in tzml")
        self.written |= outputs
        note = f"{readable(name).removeprefix('fused_')} {'x'.join(map(str, shape))}"
        self.calls.append(GraphCall(kernel, (*buffers, *scratch), note))


def _same_order(one: Packer, other: Packer, array: NDArray[Any]) -> bool:
    """Whether two packers do the same to every array of this shape and dtype."""
    numbers = np.random.default_rng(0).integers(0, 127, array.shape).astype(array.dtype)
    return np.array_equal(one(numbers), other(numbers))


def _tensor_bytes(kind: Any) -> int:
    return element_bytes(static_shape(kind), kind.dtype)


def _port(name: str, kind: Any, buffer: Buffer) -> GraphPort:
    dtype = str(kind.dtype)
    if dtype not in DType.__members__:
        raise CompileError(
            f"{name} has elements of type {dtype}", f"a bundle can have {', '.join(DType.__members__)}"
        )
    return GraphPort(name, DType[dtype], static_shape(kind), buffer)
