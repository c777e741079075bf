"""What names a kernel: what it computes; and, in the cache, all that decides its machine code.

A kernel's symbol does not change with the compiler, lest a library that is the same has to be signed again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any, NamedTuple

import tvm

from tzml.compiler.codegen.in_order.assemble import assembler_version, is_in_order

PREFIX = "tzml_k_"

USED = ("ir/shapes.py", "ir/tvm_internals.py")
"""What decides machine code beside this package; tests/compiler/test_kernel_cache.py looks at what it imports."""


class KernelNames(NamedTuple):
    """A kernel's symbol, and what it is called in the cache."""

    symbol: str
    key: str


def name_kernel(function: Any, name: str, target: Any) -> KernelNames:
    """The names of a tensor function's machine code.

    `name` is what people may call it. Names of variables, which differ from model to model, do not count.
    """
    parts = (name, tvm.ir.save_json(target), canonical(function))
    computes = b"".join(hashlib.sha256(part.encode()).digest() for part in parts)
    symbol = f"{PREFIX}{name}_{hashlib.sha256(computes).hexdigest()[:16]}"
    assembler = assembler_version() if is_in_order(target) else ""
    return KernelNames(symbol, hashlib.sha256(_compiler() + assembler.encode() + computes).hexdigest())


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


def called(symbol: str) -> str:
    """What people may call the kernel with that symbol."""
    return symbol.removeprefix(PREFIX).rpartition("_")[0] or symbol


def _other_numbers(node: dict[str, Any]) -> Iterator[int]:
    """Every number in a node that may be the place of another one, but a variable's name."""
    data = node.get("data")
    if isinstance(data, dict):
        yield from (v for k, v in data.items() if isinstance(v, int) and (node["type"], k) != ("ir.Var", "name"))
    elif isinstance(data, list):
        yield from (v for v in data if isinstance(v, int))


@functools.cache
def _compiler() -> bytes:
    """A digest of what makes machine code of a function, or refuses to: TVM, and this package with what it uses."""
    digest = hashlib.sha256()
    for package in ("apache-tvm", "apache-tvm-ffi"):
        digest.update(f"{package} {metadata.version(package)}\n".encode())
    compiler = resources.files("tzml.compiler")
    rules = resources.files("tzml.cortex_a53")  # what the order of instructions is chosen by
    for source in (rules, compiler / "codegen", *(compiler.joinpath(*name.split("/")) for name in USED)):
        digest.update(_digest(source))
    return digest.digest()


def _digest(source: Traversable) -> bytes:
    """Of a file, or of a folder and all that lies below it."""
    if source.is_file():
        return hashlib.sha256(source.read_bytes()).digest()
    inside = sorted((entry for entry in source.iterdir() if entry.name != "__pycache__"), key=lambda e: e.name)
    return hashlib.sha256(b"".join(hashlib.sha256(e.name.encode()).digest() + _digest(e) for e in inside)).digest()
