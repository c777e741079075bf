"""What kernels can be compiled for."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tzml.boards import boards
from tzml.bundle import Target


@dataclass(frozen=True)
class CompilerTarget:
    """A device: its processor, TVM's name for it, and the C compiler whose linker makes libraries for it."""

    processor: Target
    tvm: dict[str, Any]
    cc: str

    @property
    def has_tee(self) -> bool:
        """Whether there is an OP-TEE to make a library for."""
        return self.processor == Target.aarch64


AARCH64_CC = "gcc" if platform.machine() == "aarch64" else "aarch64-linux-gnu-gcc"
"""The C compiler for AArch64, and its assembler."""


def _aarch64(mcpu: str) -> CompilerTarget:
    # LLVM makes no branch of a choice between two numbers: the time of a run would tell of them
    options = ["-predictable-select-expensive", "-enable-select-opt"]
    tvm = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": mcpu, "mattr": options}
    return CompilerTarget(Target.aarch64, tvm, AARCH64_CC)


def _host() -> CompilerTarget:
    if platform.machine() == "aarch64":
        return _aarch64("cortex-a53")
    tvm = {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": _x86_level()}
    return CompilerTarget(Target.x86_64, tvm, "gcc")


def _x86_level() -> str:
    """The newest of the levels of the x86-64 psABI that this machine has, and TVM vectors for."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    if flags >= {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}:
        return "x86-64-v4"
    return "x86-64-v3" if flags >= {"avx2", "bmi1", "bmi2", "f16c", "fma"} else "x86-64-v2"


TARGETS = {name: _aarch64(board.processor) for name, board in boards().items()} | {"host": _host()}
