"""Programs to measure: each has a folder of its own and runs on this machine or under QEMU."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from tzml.bench.cycles import estimate, read_blocks
from tzml.cache import cache_folder
from tzml.errors import TzmlError
from tzml.files import write_file

CROSS_LIBC = Path("/usr/aarch64-linux-gnu")
"""Debian's cross libc, with the dynamic linker."""

_QEMU = "qemu-aarch64"
_CPU = "cortex-a57"  # an ARMv8.0 core: it lacks the instructions that OP-TEE's boards lack
_ESTIMATED_CPU = "cortex-a53"
_PLUGIN_SOURCES = ("instructions.c", "caches.h", "measure.h")
_BLOCKS = "blocks.txt"
_LINE = 64  # CACHE_LINE in caches.h


class ProgramError(TzmlError):
    """A compiler or a measured program was started and failed."""


@dataclass(frozen=True)
class Cost:
    """The cost of one inference: CPU seconds on this machine, or AArch64 instructions under QEMU.

    `cycles` of a Cortex-A53 and `dram_bytes` that it reads are estimates, made if they were asked for.
    """

    seconds: float | None = None
    instructions: int | None = None
    cycles: float | None = None
    dram_bytes: int | None = None

    @property
    def value(self) -> float:
        """The cost in whichever unit was measured."""
        return float(self.instructions if self.instructions is not None else self.seconds or 0)


def source(name: str) -> Path:
    """A file of this package."""
    return Path(str(resources.files("tzml.bench") / name))


def run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a program on this machine. Raises TzmlError."""
    return _cost(start(command, folder, environment))


def run_emulated(
    command: Sequence[str | Path],
    folder: Path,
    libc: Path,
    environment: Mapping[str, str] | None = None,
    *,
    estimated: bool = False,
) -> Cost:
    """Run an AArch64 program under QEMU. Raises TzmlError.

    `libc` is the folder in which its absolute paths are looked up first. With `estimated`, the processor is a
    Cortex-A53 whose cycles and DRAM are estimated, which takes several times as long.
    """
    cost = _cost(start(emulated(command, libc, environment, estimated=estimated), folder))
    if not estimated:
        return cost
    found = estimate(read_blocks(folder / _BLOCKS))
    if found.instructions != cost.instructions:
        raise TzmlError(f"QEMU recorded {found.instructions} of {cost.instructions} instructions", "measure again")
    return replace(cost, cycles=found.cycles)


def emulated(
    command: Sequence[str | Path],
    libc: Path,
    environment: Mapping[str, str] | None = None,
    *,
    estimated: bool = False,
) -> list[str | Path]:
    """The command that runs an AArch64 program under QEMU and counts its instructions. Raises TzmlError.

    With `estimated`, it also writes the executed blocks to a file, and prints the misses of caches.
    """
    if not shutil.which(_QEMU):
        raise TzmlError(f"{_QEMU} is not installed", "apt-get install qemu-user")
    variables = [argument for name, value in (environment or {}).items() for argument in ("-E", f"{name}={value}")]
    cpu, plugin = (_ESTIMATED_CPU, f"{_plugin()},blocks={_BLOCKS}") if estimated else (_CPU, _plugin())
    return [_QEMU, "-cpu", cpu, "-plugin", plugin, "-L", libc, *variables, *command]


def compile_c(cc: str, arguments: Sequence[str | Path], folder: Path) -> None:
    """Compile C with this project's warnings. Raises TzmlError."""
    require_compiler(cc)
    start([cc, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *arguments], folder)


def require_compiler(cc: str) -> None:
    """Raise TzmlError if this compiler is not installed."""
    if not shutil.which(cc):
        raise TzmlError(f"{cc} is not installed", "apt-get install gcc gcc-aarch64-linux-gnu")


def _plugin() -> Path:
    """The QEMU plugin that counts instructions, compiled for this machine."""
    path = cache_folder("bench") / "instructions.so"
    newest = max(source(name).stat().st_mtime for name in _PLUGIN_SOURCES)
    if not path.exists() or path.stat().st_mtime < newest:
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder, path.name)
            compile_c("gcc", ["-shared", "-fPIC", source("instructions.c"), "-o", made], made.parent)
            write_file(path, made.read_bytes())
    return path


def start(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a program and return its output. Raises ProgramError if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        what = (done.stderr or done.stdout).strip().splitlines()
        raise ProgramError(
            f"{command[0]} failed with exit code {done.returncode}: {what[-1] if what else 'no message'}"
        )
    return done.stdout + done.stderr


def _cost(output: str) -> Cost:
    instructions = re.search(r"^instructions (\d+)$", output, re.MULTILINE)
    if instructions:
        misses = re.search(r"^l2_misses (\d+)$", output, re.MULTILINE)
        dram = int(misses[1]) * _LINE if misses else None
        return Cost(instructions=int(instructions[1]), dram_bytes=dram)
    seconds = re.search(r"^seconds ([\d.e-]+)$", output, re.MULTILINE)
    if not seconds:
        raise TzmlError(f"the program printed no measurement: {output.strip()[-200:]}")
    return Cost(seconds=float(seconds[1]))
