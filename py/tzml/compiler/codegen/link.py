"""Kernel libraries: one object file, linked once for OP-TEE and once for Linux."""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tzml.bundle.format import DIGEST_SIZE, KERNEL_ABI
from tzml.bundle.identity import digest_uuid
from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.graph import Graph, Kernel, kernels_of
from tzml.compiler.ir.targets import CompilerTarget

_log = logging.getLogger(__name__)
SUPPORT = ("math.c", "memory.c")
"""What kernels call, of support/."""

CFLAGS = (
    "-std=gnu11", "-O2", "-fPIC", "-ffreestanding", "-fno-math-errno", "-fno-stack-protector",
    "-ffunction-sections",
    "-fvisibility=hidden", "-fno-tree-loop-distribute-patterns", "-Wall", "-Wextra", "-Werror",
)  # fmt: skip
_LDFLAGS = (
    "-shared", "-nostdlib", "-s", "-Wl,-Bsymbolic", "-Wl,--gc-sections", "-Wl,--no-undefined",
    "-Wl,--build-id=none", "-Wl,--hash-style=sysv", "-Wl,-z,noexecstack", "-Wl,-z,max-page-size=4096",
    "-Wl,-z,separate-loadable-segments",
)  # fmt: skip
_VERSION_SCRIPT = "{ global: tzml_kernels; tzml_kernel_call; local: *; };\n"


@dataclass(frozen=True)
class Libraries:
    """The two libraries of a model, as ELF; `digest` names both."""

    digest: bytes
    tee: bytes
    ree: bytes

    @property
    def uuid(self) -> uuid.UUID:
        """The name by which OP-TEE knows the library."""
        return digest_uuid(self.digest)


def build_libraries(graphs: Sequence[Graph], target: CompilerTarget) -> Libraries:
    """Compile the kernel table and link the kernels of some graphs; without a TEE, only for Linux.

    Raises CompileError if the C compiler is missing or fails, and if a kernel calls a function that support/math.c
    does not have.
    """
    kernels = kernels_of(graphs)
    objects = {symbol: code for graph in graphs for symbol, code in graph.objects.items()}
    with tempfile.TemporaryDirectory() as folder:
        linker = _Linker(Path(folder), target.cc)
        for index, kernel in enumerate(kernels):
            # not by its symbol: one that many operators were fused into has too long a name for a file
            linker.add_object(f"kernel{index}.o", objects[kernel.symbol])
        for name in SUPPORT:
            linker.add_object(f"{name}.o", support_object(target.cc, name))
        # the digest covers all that decides what the library does, but for itself
        digest = linker.digest(_table_source(kernels, bytes(DIGEST_SIZE)))
        linker.add_object("table.o", _compile(target.cc, "table.c", _table_source(kernels, digest)))
        tee = linker.link(f"-Wl,-soname,{digest_uuid(digest)}") if target.has_tee else b""
        return Libraries(digest, tee, linker.link("-Wl,-soname,tzml-kernels"))


def _table_source(kernels: tuple[Kernel, ...], digest: bytes) -> str:
    """C source of the two symbols that docs/bundle.md, "Kernel library", asks for."""
    arguments = [argument for kernel in kernels for argument in kernel.arguments]
    lines = [
        "#include <stdint.h>",
        '#define EXPORT __attribute__((visibility("default")))',
    ]
    for kernel in kernels:
        lines.append(f"int32_t {kernel.symbol}({', '.join(['void *'] * len(kernel.arguments))});")
    lines += [
        "EXPORT const struct {",
        "	uint32_t magic, abi, kernel_count, argument_count;",
        f"	uint8_t digest[{DIGEST_SIZE}];",
        f"	struct {{ uint32_t first, count; }} kernels[{len(kernels)}];",
        f"	struct {{ uint64_t size; uint32_t access, reserved; }} arguments[{len(arguments)}];",
        "} tzml_kernels __attribute__((aligned(8))) = {",
        f"	0x4c4b5a54, {KERNEL_ABI}, {len(kernels)}, {len(arguments)},",
        f"	{{ {', '.join(map(str, digest))} }},",
        "	{",
    ]
    first = 0
    for kernel in kernels:
        lines.append(f"		{{ {first}, {len(kernel.arguments)} }},")
        first += len(kernel.arguments)
    lines += ["	},", "	{"]
    lines += [f"		{{ {size}, {int(access)}, 0 }}," for size, access in arguments]
    lines += [
        "	},",
        "};",
        "EXPORT int32_t tzml_kernel_call(uint32_t kernel, void *const *a);",
        "int32_t tzml_kernel_call(uint32_t kernel, void *const *a)",
        "{",
        "	switch (kernel) {",
    ]
    for index, kernel in enumerate(kernels):
        pointers = ", ".join(f"a[{i}]" for i in range(len(kernel.arguments)))
        lines += [f"	case {index}:", f"		return {kernel.symbol}({pointers});"]
    lines += ["	default:", "		return -1;", "	}", "}", ""]
    return "\n".join(lines)


@functools.cache  # the same for every model; a model's table is not
def support_object(cc: str, name: str) -> bytes:
    """The object file of one of SUPPORT, as libraries have it. Raises CompileError."""
    return _compile(cc, name, (resources.files("tzml.compiler.codegen") / "support" / name).read_text())


def _compile(cc: str, name: str, source: str) -> bytes:
    """The object file of a C source that needs no other file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(source)
        _run(cc, path.parent, *CFLAGS, "-c", name, "-o", "object.o")
        return (path.parent / "object.o").read_bytes()


class _Linker:
    """Objects in a folder, and the C compiler that links them."""

    def __init__(self, folder: Path, cc: str) -> None:
        self.folder = folder
        self.cc = cc
        self.objects: list[Path] = []
        (folder / "symbols.map").write_text(_VERSION_SCRIPT)

    def add_object(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.write_bytes(data)
        self.objects.append(path)

    def digest(self, table: str) -> bytes:
        """SHA-256 of the objects so far, the table and how they are linked."""
        digest = hashlib.sha256(repr((KERNEL_ABI, CFLAGS, _LDFLAGS, _VERSION_SCRIPT, table)).encode())
        for path in self.objects:
            digest.update(path.read_bytes())
        return digest.digest()

    def link(self, soname: str) -> bytes:
        names = [path.name for path in self.objects]
        _run(
            self.cc, self.folder, *_LDFLAGS, "-Wl,--version-script,symbols.map", soname, *names, "-o", "library.so"
        )
        return (self.folder / "library.so").read_bytes()


def _run(cc: str, folder: Path, *arguments: str) -> None:
    _log.info("%s %s", cc, " ".join(arguments))
    try:
        result = subprocess.run([cc, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise CompileError(f"{cc} is not installed", f"apt-get install {_package(cc)}") from error
    if result.returncode:
        raise _link_error(cc, result.stderr)


def _package(cc: str) -> str:
    return "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" if cc.startswith("aarch64") else "gcc libc6-dev"


def _link_error(cc: str, stderr: str) -> CompileError:
    missing = sorted(set(re.findall(r"undefined reference to `(\w+)'", stderr)))
    if missing:
        return CompileError(
            f"the kernels call {', '.join(missing)}, which the TEE does not have",
            "replace the layer that uses it; py/tzml/compiler/codegen/support/math.c has what there is",
        )
    lines = stderr.strip().splitlines() or ["no message"]
    # the last line may only say that it gave up
    said = next((line for line in lines if "error: " in line), lines[-1])
    return CompileError(f"{cc} failed: {said}", "free some space" if os.strerror(errno.ENOSPC) in stderr else "")
