"""What names a compiled kernel: everything that decides its machine code, and nothing else."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from importlib import metadata, resources
from typing import Any

import tvm

PREFIX = "tzml_k_"


def kernel_key(function: Any, name: str, target: Any) -> str:
    """A name for the machine code of a tensor function, in hexadecimal.

    `name` is what people may call it. Names of variables, which differ from model to model, do not count.
    """
    digest = hashlib.sha256(_compiler())
    for part in (name, tvm.ir.save_json(target), canonical(function)):
        digest.update(hashlib.sha256(part.encode()).digest())
    return digest.hexdigest()


def canonical(function: Any) -> str:
    """TVM's own JSON of a function, without the names of variables.

    Its nodes refer to each other by their place in a list, so that no name is needed. A name that may be
    used by something else than a variable is kept.
    """
    graph = json.loads(tvm.ir.save_json(function))
    nodes = graph["nodes"]
    names = {node["data"]["name"] for node in nodes if node["type"] == "ir.Var"}
    kept = {number for node in nodes for number in _other_numbers(node)}
    for place in names - kept:
        nodes[place]["data"] = "v"
    return json.dumps(graph)


def unnamed(function: Any) -> Any:
    """The function with variables that have one name: TVM writes names into object files, for debuggers."""
    return tvm.ir.load_json(canonical(function))


def readable(name: str) -> str:
    """A tensor function's name without the numbers that tell it from others of its module."""
    return re.sub(r"\d+(?=_|$)", "", name)


def _other_numbers(node: dict[str, Any]) -> Iterator[int]:
    """Every number in a node that may be the place of another one, but a variable's name."""
    data = node.get("data")
    if isinstance(data, dict):
        yield from (v for k, v in data.items() if isinstance(v, int) and (node["type"], k) != ("ir.Var", "name"))
    elif isinstance(data, list):
        yield from (v for v in data if isinstance(v, int))


@functools.cache
def _compiler() -> bytes:
    """Changes with whatever turns a function into machine code, or refuses to: TVM, and this package."""
    digest = hashlib.sha256()
    for package in ("apache-tvm", "apache-tvm-ffi"):
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    folder = resources.files("tzml.compiler.codegen")
    own = [folder / f"{name}.py" for name in ("build_kernel", "kernel_key", "refuse_indirect", "scratch")]
    sources = [*own, *(folder / "kernels").iterdir()]
    for source in sorted((s for s in sources if s.is_file()), key=lambda s: s.name):
        digest.update(source.read_bytes())
    return digest.digest()
