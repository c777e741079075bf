"""A kernel for each function of a module, and the constants in the order in which it takes them."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax, tirx

from tzml.compiler.kernels import Isa, Scheduled, schedule
from tzml.compiler.rewrite import Expr, Rewriter, const, constant


def schedule_all(module: Any, isa: Isa) -> Any:
    """The module with each PrimFunc scheduled, and `main` with packed constants."""
    kernels = {
        name: schedule(function, isa) for name, function in module.functions.items() if isinstance(function, tirx.PrimFunc)
    }
    main = next(name for name in module.functions if name.name_hint == "main")
    return _Pack(tvm.IRModule({main: module[main]}), kernels).run()


def _anonymous(function: Any) -> Any:
    """Without the name that would make it an entry point."""
    return function.without_attr("global_symbol").with_attr("tirx.noalias", True)


class _Pack(Rewriter):
    """Rearranges constants as the kernels that take them want."""

    def __init__(self, module: Any, kernels: dict[Any, Scheduled]) -> None:
        super().__init__(module)
        self.kernels = kernels
        # a GlobalVar has its function's type, which packing changes
        self.names = {
            name: self.bb.add_func(_anonymous(kernel.function), name.name_hint) for name, kernel in kernels.items()
        }
        self.packed: dict[tuple[Any, Any, int], Expr] = {}

    def call(self, variable: Any, call: Any) -> Expr | None:
        name = call.args[0] if call.args else None
        if name not in self.kernels:
            return super().call(variable, call)
        operands = [self.translate(argument) for argument in call.args[1].fields]
        for position in self.kernels[name].packers:
            operands[position] = self.pack(name, position, operands[position])
        return self.emit(relax.Call(call.op, [self.names[name], relax.Tuple(operands)], call.attrs, call.ty_args))

    def pack(self, name: Any, position: int, operand: Expr) -> Expr:
        """A constant for a kernel; the same one again if it was packed for it before."""
        key = (operand, name, position)
        if key not in self.packed:
            array = constant(operand)
            assert array is not None, "kernels that pack are chosen for constants only"
            self.packed[key] = const(self.kernels[name].packers[position](array))
        return self.packed[key]
