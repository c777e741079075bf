"""Where a kernel's local buffers lie: on the stack, or in scratch memory that its caller gives it."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import tirx

from tzml.compiler.ir.shapes import element_bytes

# What a kernel's local buffers take of the stack at most, in bytes; those that it has no room for become arguments.
STACK_LIMIT = 1024


def pointer_to(buffer: Any) -> Any:
    """A variable of TIR that points to a buffer's first element."""
    element = tvm.ir.PrimType(str(buffer.ty.dtype.dtype))
    return tirx.Var(buffer.name + "_ptr", tvm.ir.PointerType(element, buffer.ty.storage_scope))


class Scratch:
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
        pointer = pointer_to(statement.buffer)
        self.found.append((pointer, size))
        return tirx.DeclBuffer(statement.buffer, data=pointer)
