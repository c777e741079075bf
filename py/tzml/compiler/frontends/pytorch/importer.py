"""PyTorch's exported programs: the .pt2 files of torch.export.save."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tzml.compiler.frontends.checks import Warn, check_ports, checked, warn_of_nan
from tzml.compiler.frontends.errors import malformed, needs, unsupported
from tzml.compiler.frontends.inputs import Declared, Inputs, settle_inputs
from tzml.compiler.frontends.pytorch.pt2 import KIND, safe_copy
from tzml.compiler.ir.errors import CompileError, reason
from tzml.compiler.ir.imported import Imported
from tzml.compiler.ir.layer_names import SourceNames
from tzml.compiler.ir.rewrite import naming
from tzml.compiler.ir.tvm_internals import pytorch_importer


def import_pytorch(path: Path, inputs: Inputs, warn: Warn) -> Imported:
    """Read a .pt2 file. Nothing in it is executed: see pt2.py.

    Raises CompileError for a damaged or a dangerous file, for a model in training mode, for open dimensions,
    and for operators that there is no kernel for.
    """
    torch = needs("torch", "pytorch", "reading PyTorch models")
    copy = safe_copy(path)
    try:
        program = torch.export.load(copy)
    except Exception as error:  # the deserializer raises whatever it stumbles upon
        raise malformed(path, KIND, error) from error
    declared = _declared(program)
    shapes = settle_inputs(declared, inputs)
    warn_of_nan(((name, tensor.detach().float().numpy()) for name, tensor in program.state_dict.items()), warn)
    if any(not isinstance(d, int) for kind in declared.values() for d in kind.dimensions):
        program = _fix_shapes(program, shapes, declared)
    outputs = tuple(map(str, program.graph_signature.user_outputs))
    program = program.run_decompositions()
    _refuse_training(program, path)
    layers = SourceNames()
    module = _import(program, path.name, layers)
    check_ports(module, path.name)
    return Imported(checked(module, path.name), tuple(shapes), outputs, sources=layers.sources)


def _import(program: Any, file: str, layers: SourceNames) -> Any:
    class Importer(pytorch_importer()):  # type: ignore[misc]
        """TVM's importer, with the layer's name in its errors."""

        def check(self, nodes: list[Any]) -> None:
            found = [
                (node.target.__name__, _layer(node))
                for node in nodes
                if node.op == "call_function" and node.target.__name__ not in self.convert_map
            ]
            if found:
                raise unsupported(file, found)
            for name, convert in self.convert_map.items():
                self.convert_map[name] = _named(self, name, convert)

    def _named(importer: Any, name: str, convert: Callable[..., Any]) -> Callable[..., Any]:
        def run(node: Any) -> Any:
            try:
                with naming(importer.block_builder, layers.add(_layer(node), name.partition(".")[0])):
                    return convert(node)
            except Exception as error:
                raise unsupported(file, [(name, _layer(node))], f"TVM says: {reason(error)}") from error

        return run

    return Importer().run(program)


def _layer(node: Any) -> str:
    """The module that a node of the program is in, as PyTorch's state dictionary would name it."""
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return str(stack[-1][0]) if stack and stack[-1][0] else str(node.name)


def _refuse_training(program: Any, path: Path) -> None:
    if program.graph_signature.buffers_to_mutate:
        changed = list(program.graph_signature.buffers_to_mutate.values())
        raise CompileError(
            f"{path.name} changes its own {', '.join(changed[:3])} when it runs",
            "export it for inference: torch.export.export(model.eval(), …)",
        )


def _declared(program: Any) -> dict[str, Declared]:
    names = set(program.graph_signature.user_inputs)
    found = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names:
            value = node.meta["val"]
            if not hasattr(value, "shape"):
                raise CompileError(f"input {node.name} is no tensor", "export the model with tensors as its inputs")
            dimensions = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
            found[node.name] = Declared(dimensions, str(value.dtype).removeprefix("torch."))
    return found


def _fix_shapes(program: Any, shapes: dict[str, tuple[int, ...]], declared: dict[str, Declared]) -> Any:
    """The program for inputs of these shapes."""
    import torch

    example = tuple(
        torch.zeros(shape, dtype=getattr(torch, declared[name].dtype)) for name, shape in shapes.items()
    )
    return torch.export.export(program.module(), example)
