"""libtzml for a build host, which has none installed: compiled from the package's sources on first use."""

from __future__ import annotations

import hashlib
import logging
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from tzml.cache import cache_folder
from tzml.errors import TzmlError
from tzml.files import write_file

_log = logging.getLogger(__name__)
_HERE = Path(__file__).resolve()
_CHECKOUT = _HERE.parents[3]
# setup.py puts `host` and `runtime` into the package that is installed
SOURCES = _CHECKOUT if (_CHECKOUT / "host" / "Makefile").exists() else _HERE.parent / "sources"
_SUFFIXES = (".c", ".h", ".mk", ".map")
_REMEDY = "apt-get install gcc make libc6-dev libssl-dev, or set TZML_LIBRARY to a libtzml"


def built_library() -> Path:
    """The library, without a secure world, from the cache or newly built. Raises TzmlError."""
    found = [file for part in ("host", "runtime") for file in (SOURCES / part).rglob("*")]
    files = sorted(file for file in found if file.suffix in _SUFFIXES or file.name == "Makefile")
    digest = hashlib.sha256(f"{platform.machine()} {platform.libc_ver()}".encode())
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(SOURCES)}\0{len(content)}\0".encode() + content)
    path = cache_folder("library") / f"libtzml-{digest.hexdigest()[:16]}.so.1"
    if not path.exists():
        _log.info("building %s from %s", path, SOURCES)
        write_file(path, _build())
    return path


def _build() -> bytes:
    for program in ("make", "cc"):
        if not shutil.which(program):
            raise TzmlError(f"this host has no libtzml, and no {program} to build it", _REMEDY)
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder, "libtzml.so.1")
        command: list[str | Path] = ["make", "-C", SOURCES / "host", f"O={folder}", "TEE=n", library]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            said = next((line for line in lines if "error: " in line), lines[-1])
            raise TzmlError(f"this host has no libtzml, and it cannot be built: {said}", _REMEDY)
        return library.read_bytes()
