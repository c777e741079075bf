"""Make a .pt2 file safe to load.

torch.export.load unpickles what a file tells it to, evaluates the file's expressions, looks up any name
below `torch`, imports modules that a tree's description names, and generates Python code with the file's
names in it; PyTorch's documentation says not to load what one does not trust. So this module reads the
archive itself, and makes another one of it: weights as raw bytes, and a program of nothing but ATen
operators on tensors, whose every string is of a known form. All else is refused, or left out.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tzml.compiler.frontends.archive import check_sizes, read_json
from tzml.compiler.frontends.errors import malformed
from tzml.compiler.ir.errors import CompileError

KIND = "PyTorch file"
ARITHMETIC = "add|and_|eq|floordiv|ge|getitem|gt|le|lt|mod|mul|ne|neg|or_|pow|sub|truediv"
TARGET = re.compile(rf"torch\.ops\.aten\.\w+(\.\w+)?|_operator\.({ARITHMETIC})|torch\.sym_\w+")
IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
PATH = re.compile(r"[\w.]*")
MODULES = re.compile(r"[\w.,;@ ]*")
# what SymPy's srepr writes of a shape's dimension; Pow is left out, whose value may take for ever
EXPRESSION = re.compile(
    r"(Symbol\('[a-z]+\d+'(, (positive|integer|nonnegative|real)=(True|False))*\)"
    r"|Add\(|Mul\(|Integer\(-?\d{1,12}\)|FloorDiv\(|Mod\(|PythonMod\(|Max\(|Min\(|[a-z]+\d+|-?\d{1,12}|[ ,)+*-])+"
)
# the words that ATen's operators take; a file name is none of them
WORDS = {"none", "tanh", "same", "valid", "constant", "reflect", "replicate", "circular", "floor", "trunc", "mean",
         "sum", "bilinear", "nearest", "bicubic", "ij", "xy", "linear"}  # fmt: skip
TREES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}


def safe_copy(path: Path) -> io.BytesIO:
    """An archive with the program and weights of the one at `path`, for torch.export.load. Raises CompileError."""
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as out:
            check_sizes(archive, path)
            names = archive.namelist()
            root = next(name for name in names if name.endswith("/models/model.json")).partition("/")[0]
            _refuse_code(names, path)
            program = read_json(archive, f"{root}/models/model.json", path, KIND)
            out.writestr(f"{root}/models/model.json", json.dumps(_Checker(path).program(program)))
            for kind in ("weights", "constants"):
                _copy_tensors(archive, out, f"{root}/data/{kind}", f"model_{kind}_config.json", path)
            out.writestr(f"{root}/data/sample_inputs/model.pt", b"")  # a pickle, which nobody needs
            for name in ("archive_format", "archive_version", "byteorder", ".data/version"):
                if f"{root}/{name}" in names:
                    out.writestr(f"{root}/{name}", archive.read(f"{root}/{name}"))
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise malformed(path, KIND, error) from error
    copy.seek(0)
    return copy


def _refuse_code(names: list[str], path: Path) -> None:
    if any("/data/aotinductor/" in name for name in names):
        raise CompileError(f"{path} holds machine code of AOTInductor", "export it with torch.export.save")


def _copy_tensors(archive: zipfile.ZipFile, out: zipfile.ZipFile, folder: str, config: str, path: Path) -> None:
    about = read_json(archive, f"{folder}/{config}", path, KIND)
    for name, tensor in about["config"].items():
        if tensor["use_pickle"] or tensor["tensor_meta"] is None:
            raise CompileError(
                f"{path}: {name} is stored as a pickle, which can run any code when it is read",
                "export the model with plain tensors as its parameters, on the CPU",
            )
        _match(IDENTIFIER, tensor["path_name"], "file name of weights", path)
    for file in {tensor["path_name"] for tensor in about["config"].values()}:
        out.writestr(f"{folder}/{file}", archive.read(f"{folder}/{file}"))
    _to_cpu(about)
    out.writestr(f"{folder}/{config}", json.dumps(about))


class _Checker:
    """Walks over the program, and gives it back without what nobody needs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # what to make of the value of a field, by the field's name
        self.fields: dict[str, Callable[[Any], Any]] = {
            "target": self._target,
            "name": lambda v: v if v is None else self._string(IDENTIFIER, v, "name"),
            "fqn": lambda v: self._string(PATH, v, "module"),
            "parameter_name": lambda v: self._string(PATH, v, "parameter"),
            "buffer_name": lambda v: self._string(PATH, v, "buffer"),
            "tensor_constant_name": lambda v: self._string(PATH, v, "constant"),
            "forward_arg_names": lambda v: v and [self._string(IDENTIFIER, n, "argument") for n in v],
            "expr_str": lambda v: self._string(EXPRESSION, v, "expression"),
            "as_string": self._word,
            "in_spec": self._tree,
            "out_spec": self._tree,
            "metadata": self._metadata,
            "guards_code": lambda v: [],
            "treespec_namedtuple_fields": lambda v: {},
        }

    def program(self, program: dict[str, Any]) -> dict[str, Any]:
        checked: dict[str, Any] = self._visit(program)
        for name in checked["range_constraints"]:
            self._string(EXPRESSION, name, "dimension")
        return checked

    def _visit(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._visit(item) for item in value]
        if not isinstance(value, dict):
            return value
        _to_cpu(value)
        result = {}
        for name, item in value.items():
            if name in ("as_graph", "as_custom_obj", "as_operator", "as_class_fqn") and item is not None:
                raise CompileError(
                    f"{self.path.name} has control flow or custom objects ({name[3:]})",
                    "export the model for inference, with its conditions resolved",
                )
            if name.endswith("_values") and isinstance(item, dict):
                for key in item:
                    self._string(IDENTIFIER, key, "name")
            check = self.fields.get(name, self._visit)
            result[name] = check(item)
        return result

    def _string(self, form: re.Pattern[str], value: Any, what: str) -> str:
        return _match(form, value, what, self.path)

    def _target(self, value: Any) -> Any:
        # "target" is also an optional string of output specs
        if value is not None and not (isinstance(value, str) and TARGET.fullmatch(value)):
            raise CompileError(
                f"{self.path.name}: no support for the operator {str(value)[:80]}",
                "tzml knows PyTorch's own operators (ATen); export the model with run_decompositions()",
            )
        return value

    def _word(self, value: Any) -> Any:
        if value not in WORDS:
            raise malformed(self.path, KIND, f"an operator is given the text {str(value)[:40]!r}")
        return value

    def _tree(self, value: Any) -> Any:
        """A description of nested inputs or outputs, as JSON in a string."""
        try:
            trees = [json.loads(value)[1]] if value else []
            while trees:
                tree = trees.pop()
                if tree["type"] not in TREES:
                    raise CompileError(
                        f"{self.path.name}: inputs or outputs are of the type {str(tree['type'])[:80]}",
                        "export a model that takes and gives tensors, lists and dictionaries",
                    )
                trees += tree["children_spec"]
        except (ValueError, IndexError) as error:
            raise malformed(self.path, KIND, error) from error
        return value

    def _metadata(self, value: Any) -> dict[str, str]:
        """Of what is noted with a node only the modules that it is in are kept, for messages."""
        modules = value.get("nn_module_stack") if isinstance(value, dict) else None
        return {"nn_module_stack": modules} if isinstance(modules, str) and MODULES.fullmatch(modules) else {}


def _match(form: re.Pattern[str], value: Any, what: str, path: Path) -> str:
    if not isinstance(value, str) or len(value) > 4096 or not form.fullmatch(value):
        raise malformed(path, KIND, f"a {what} is {str(value)[:40]!r}")
    return value


def _to_cpu(value: Any) -> None:
    """Models that were exported on a GPU have the same numbers."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("device", "as_device") and isinstance(item, dict):
                value[name] = {"type": "cpu", "index": None}
            else:
                _to_cpu(item)
