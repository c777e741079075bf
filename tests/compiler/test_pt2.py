"""A .pt2 file is made safe before PyTorch reads it: none of its code runs. Needs no PyTorch."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_models import DATA

from tzml.compiler.frontends import import_file
from tzml.compiler.frontends.pytorch.pt2 import safe_copy
from tzml.compiler.ir.errors import CompileError

FIXED = DATA / "fixed.pt2"
PROGRAM = "fixed/models/model.json"
WEIGHTS = "fixed/data/weights/model_weights_config.json"

Change = Callable[[Any], None]


def rewritten(folder: Path, name: str, change: Change) -> Path:
    """The .pt2 file with one of its JSON files changed."""
    path = folder / "model.pt2"
    with zipfile.ZipFile(FIXED) as source, zipfile.ZipFile(path, "w") as out:
        for entry in source.namelist():
            data = source.read(entry)
            if entry == name:
                content = json.loads(data)
                change(content)
                data = json.dumps(content).encode()
            out.writestr(entry, data)
    return path


def test_the_copy_has_the_program_and_the_weights() -> None:
    with zipfile.ZipFile(FIXED) as source, zipfile.ZipFile(safe_copy(FIXED)) as copy:
        (name,) = (n for n in copy.namelist() if n.endswith("/models/model.json"))
        theirs, ours = (json.loads(archive.read(name)) for archive in (source, copy))
        targets = [[node["target"] for node in p["graph_module"]["graph"]["nodes"]] for p in (theirs, ours)]
        assert targets[0] == targets[1]
        for file in source.namelist():
            if "/data/weights/" in file and not file.endswith(".json"):
                assert copy.read(file) == source.read(file)


def test_nothing_pickled_is_copied() -> None:
    with zipfile.ZipFile(safe_copy(FIXED)) as copy:
        for name in copy.namelist():
            data = copy.read(name)
            assert data[:1] != pickle.PROTO, name
            assert not data.startswith(b"PK"), name


def nodes(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"]


def _call(target: str) -> Change:
    def change(program: Any) -> None:
        nodes(program)[0]["target"] = target

    return change


def _argument_name(program: Any) -> None:
    program["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = "x); import os; os.system('id'"


def _word(program: Any) -> None:
    nodes(program)[0]["inputs"].append({"name": "mode", "arg": {"as_string": "/etc/passwd"}, "kind": 1})


def _tree(program: Any) -> None:
    tree = [1, {"type": "os.PathLike", "context": "null", "children_spec": []}]
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps(tree)


def _expression(program: Any) -> None:
    program["range_constraints"] = {"__import__('os').system('id')": {"min_val": 1, "max_val": 2}}


def _custom(program: Any) -> None:
    nodes(program)[0]["inputs"][0]["arg"] = {"as_custom_obj": {"name": "x", "class_fqn": "os.system"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_call("os.system"), "no support for the operator os.system; tzml knows PyTorch's own operators"),
        (_call("torch.ops.mylib.conv.default"), "no support for the operator torch.ops.mylib.conv.default"),
        (_call("torch.hub.load"), "no support for the operator torch.hub.load"),
        (_argument_name, "a name is"),
        (_word, "an operator is given the text '/etc/passwd'"),
        (_tree, "inputs or outputs are of the type os.PathLike"),
        (_expression, "a dimension is"),
        (_custom, r"control flow or custom objects \(custom_obj\)"),
        (lambda program: program.clear(), "is not a valid PyTorch file"),
    ],
    ids=["builtin", "custom-op", "hub", "name", "word", "tree", "expression", "object", "empty"],
)
def test_a_program_with_code_in_it_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        safe_copy(rewritten(tmp_path, PROGRAM, change))


def _pickled(config: Any) -> None:
    next(iter(config["config"].values()))["use_pickle"] = True


def _elsewhere(config: Any) -> None:
    next(iter(config["config"].values()))["path_name"] = "../../models/model.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_pickled, "is stored as a pickle, which can run any code when it is read; export the model"),
        (_elsewhere, "a file name of weights is '../../models/model.json'"),
    ],
    ids=["pickled", "elsewhere"],
)
def test_weights_must_be_plain_bytes_in_their_place(tmp_path: Path, change: Change, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        safe_copy(rewritten(tmp_path, WEIGHTS, change))


def test_machine_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    path.write_bytes(FIXED.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("fixed/data/aotinductor/model/model.so", b"\x7fELF")
    with pytest.raises(CompileError, match="holds machine code of AOTInductor"):
        safe_copy(path)


def test_an_archive_that_fills_the_memory_is_refused(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/models/model.json", "{}")
        archive.writestr("m/data/weights/weight_0", bytes(200 << 20))
    path = tmp_path / "model.pt2"
    path.write_bytes(bomb.getvalue())
    with pytest.raises(CompileError, match=r"bytes, and 209,715,\d+ when it is unpacked"):
        safe_copy(path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path, data = tmp_path / "model.pt2", FIXED.read_bytes()
    for size in range(8, len(data), len(data) // 40):
        path.write_bytes(data[:size])
        with pytest.raises(CompileError):
            import_file(path, {}, lambda _: None)


@pytest.mark.parametrize(("file", "extra"), [("fixed.pt2", "pytorch"), ("int8.tflite", "tflite")])
def test_without_a_formats_package_the_error_names_the_extra(
    file: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = {"pytorch": "torch", "tflite": "tflite"}[extra]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(CompileError, match=rf"needs the Python package {package}.*; pip install 'tzml\[{extra}\]'"):
        import_file(DATA / file, {}, lambda _: None)
