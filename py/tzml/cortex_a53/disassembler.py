"""Binutils' disassembler, which tells what A64 machine code says."""

from __future__ import annotations

import shutil
import subprocess
import tempfile

from tzml.errors import TzmlError

_NAMES = ("aarch64-linux-gnu-objdump", "objdump")


def disassemble(code: bytes, *options: str) -> str:
    """The listing of a file by objdump, with the zeros that it would leave out. Raises TzmlError."""
    objdump = next(filter(shutil.which, _NAMES), None)
    if objdump is None:
        raise TzmlError(f"{_NAMES[0]} is not installed", "apt-get install gcc-aarch64-linux-gnu")
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(code)
        file.flush()
        done = subprocess.run([objdump, "-z", *options, file.name], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TzmlError(f"{objdump} failed: {done.stderr.strip()}")
    return done.stdout
