"""TVM's private names are used in one file only, which fits the TVM that is installed."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import tvm
from conftest import ROOT
from tvm import relax, te
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter
from tvm.relax.frontend.tflite.tflite_frontend import OperatorConverter

from tzml.compiler.ir import tvm_internals
from tzml.compiler.ir.tvm_internals import (
    FITS,
    nodes_of,
    onnx_operators,
    tflite_converter,
    type_of_attributes,
    without_intrinsics,
)

ADAPTER = Path(tvm_internals.__file__)
OTHERS = sorted(set((ROOT / "py").rglob("*.py")) - {ADAPTER})
# a package's own modules, which TVM moves between releases; the others are named in its documentation
INTERNAL = r"tvm\.relax\.frontend\.\w+\.\w+|tvm\.\w+\.tensor_intrin|_ffi_api|__tvm_ffi_\w+|target\.build\."


def test_it_fits_the_tvm_that_is_installed_and_pinned() -> None:
    hint = f"read py/tzml/compiler/ir/tvm_internals.py beside TVM {version('apache-tvm')}, then set FITS"
    assert version("apache-tvm") == FITS, hint
    assert f"apache-tvm=={FITS}" in (ROOT / "requirements.in").read_text().split()
    assert f'"apache-tvm=={FITS}"' in (ROOT / "pyproject.toml").read_text()


def private_names(tree: ast.AST) -> Iterator[str]:
    """Attributes that begin with one underscore, and such names that are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def private(names: Iterator[str]) -> set[str]:
    return {name for name in names if re.match(r"_[a-z]", name, re.IGNORECASE)}


def defined(tree: ast.AST) -> Iterator[str]:
    """What a file itself calls by a name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def methods(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            yield from (statement.name for statement in node.body if isinstance(statement, ast.FunctionDef))


def test_nobody_else_asks_for_one() -> None:
    used = private(private_names(ast.parse(ADAPTER.read_text())))
    assert {"_get_convert_map", "_SUPPORTED_QUANTIZED_OPS", "_convert_operator"} <= used
    trees = {path: ast.parse(path.read_text()) for path in OTHERS if "compiler" in path.parts}
    ours = {name for tree in trees.values() for name in defined(tree)}
    keras = Path("tensorflow", "worker.py")
    for path, tree in trees.items():
        known = {"_flatten_layers"} if path.match(str(keras)) else set()
        assert private(private_names(tree)) - ours == known, path
        assert used & {*private_names(tree), *methods(tree)} == set(), path
    assert re.findall(INTERNAL, ADAPTER.read_text())
    for path in OTHERS:
        assert re.findall(INTERNAL, path.read_text()) == [], path


# -- What the file relies on ----------------------------------------------------------------------------


def parameters(method: object) -> list[str]:
    return list(inspect.signature(method).parameters)  # type: ignore[arg-type]


def test_onnx_operators_go_through_the_method_that_is_overridden() -> None:
    assert parameters(ONNXGraphImporter._convert_operator) == ["self", "op_name", "inputs", "attrs", "opset"]
    assert parameters(ONNXGraphImporter._check_for_unsupported_ops) == ["self", "graph"]
    assert parameters(ONNXGraphImporter.__init__)[1:] == [
        "shape_dict", "dtype_dict", "keep_params_in_input", "sanitize",
    ]  # fmt: skip
    source = inspect.getsource(ONNXGraphImporter)
    assert source.count("= self._convert_operator(") == 2
    assert source.count('attr["tvm_custom"]["name"] = ') == 2
    assert "i_shape = self._shape[i_name]" in source
    assert {"Conv", "Gemm", "Relu"} <= onnx_operators()


def test_tflite_operators_go_through_the_map_that_is_changed() -> None:
    assert "self.convert_map[op_code_str](op=op)" in inspect.getsource(OperatorConverter.convert_op_to_relax)
    assert parameters(OperatorConverter.check_unsupported_ops) == ["self"]
    assert {"CONV_2D", "ADD"} <= tflite_converter().quantized_operators.fget(OperatorConverter)


def test_pytorch_operators_go_through_the_method_and_the_map_that_are_changed() -> None:
    """In TVM's sources: PyTorch is not installed where this runs."""
    folder = Path(tvm.__file__).parent / "relax" / "frontend" / "torch"
    base, translator = (
        (folder / name).read_text() for name in ("base_fx_graph_translator.py", "exported_program_translator.py")
    )
    assert "def _check_unsupported_func_type(self, nodes: list[fx.Node]):" in base
    assert "self.convert_map: dict[" in base
    assert "class ExportedProgramImporter(BaseFXGraphImporter):" in translator
    [method] = [
        node
        for node in ast.walk(ast.parse(translator))
        if isinstance(node, ast.FunctionDef)
        and node.name == "from_exported_program"
        and node.args.args[0].arg == "self"
    ]
    assert [argument.arg for argument in (*method.args.args, *method.args.kwonlyargs)] == [
        "self", "exported_program", "keep_params_as_input", "unwrap_unit_return_tuple", "no_bind_return_tuple",
        "custom_convert_map",
    ]  # fmt: skip
    assert "self._check_unsupported_func_type(" in ast.unparse(method)
    assert "self.convert_map[func_name](node)" in translator


def test_the_nodes_of_a_function_are_found_by_tvms_reflection() -> None:
    x = te.placeholder((4,), name="x")
    function = te.create_prim_func([x, te.compute((4,), lambda i: x[i] + 1)])
    names = [type(node).__name__ for node in nodes_of(function.body)]
    assert names.index("SBlock") < names.index("BufferStore") < names.index("TensorLoad")
    assert "Add" in names


def test_attributes_have_a_type_with_fields() -> None:
    softmax = relax.op.nn.softmax(relax.const(1.0), axis=-1)
    kind, fields = type_of_attributes(softmax.attrs)
    assert (kind, fields) == ("relax.attrs.SoftmaxAttrs", ["axis"])


def test_a_target_has_a_function_that_builds_for_it() -> None:
    assert tvm.get_global_func("target.build.llvm", allow_missing=True) is not None


@pytest.mark.parametrize("module", ["tvm.s_tir.tensor_intrin"])
def test_intrinsics_are_not_parsed_in_between(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, module, raising=False)
    with without_intrinsics():
        exec(f"import {module}")
        assert not hasattr(sys.modules[module], "__file__")
    assert module not in sys.modules
    folder = Path(tvm.__file__).parent
    assert (folder.parent / module.replace(".", "/")).is_dir()
    assert f"import {module}" in (folder / "s_tir" / "meta_schedule" / "tune_context.py").read_text()
