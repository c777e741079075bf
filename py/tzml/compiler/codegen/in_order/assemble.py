"""From assembly to an object file, by the assembler of the C compiler that links kernel libraries."""

from __future__ import annotations

import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tzml.compiler.ir.errors import CompileError
from tzml.compiler.ir.targets import AARCH64_CC

_PROCESSORS = ("cortex-a53",)
"""Those that start instructions in order, and whose rules are known (tzml/cortex_a53)."""


def is_in_order(target: Any) -> bool:
    """Whether loops are written anew for the processor of a TVM target."""
    return target.export().get("mcpu") in _PROCESSORS


def assemble(assembly: str) -> bytes:
    """An object file. Raises CompileError if the assembler is missing or fails."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "kernel.s").write_text(assembly)
        _run(folder, "-c", "kernel.s", "-o", "kernel.o")
        return (folder / "kernel.o").read_bytes()


@functools.cache
def assembler_version() -> str:
    """What the assembler says of itself: another one may write other bytes. Empty if there is none."""
    try:
        return _run(Path(), "-c", "-x", "assembler", "/dev/null", "-o", "/dev/null", "-Wa,--version")
    except CompileError:
        return ""


def _run(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run([AARCH64_CC, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        hint = "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"
        raise CompileError(f"{AARCH64_CC} is not installed", hint) from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "rror" in line), "no message")
        raise CompileError(f"{AARCH64_CC} failed: {said}")
    return done.stdout
