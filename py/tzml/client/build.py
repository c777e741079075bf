"""libtzml and tzml-serve for a build host that has none: compiled from the package's sources on first use."""

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
_SUFFIXES = (".c", ".cpp", ".h", ".hpp", ".mk", ".map")
_REMEDY = "apt-get install gcc make libc6-dev libssl-dev, or set TZML_LIBRARY to a libtzml"


_SERVER_REMEDY = (
    "apt-get install g++ libmicrohttpd-dev libgnutls28-dev libsimdjson-dev, or set TZML_SERVE to a tzml-serve"
)


def built_library() -> Path:
    """The library, without a secure world, from the cache or newly built. Raises TzmlError."""
    path = cache_folder("library") / f"libtzml-{_digest()}.so.1"
    if not path.exists():
        _log.info("building %s from %s", path, SOURCES)
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder, "libtzml.so.1")
            _make("libtzml", _REMEDY, SOURCES / "host", f"O={folder}", "TEE=n", library)
            write_file(path, library.read_bytes())
    return path


def built_server() -> Path:
    """tzml-serve, without a secure world, from the cache or newly built, beside the library. Raises TzmlError."""
    folder = cache_folder("library") / f"serve-{_digest()}"
    path = folder / "tzml-serve"
    if not path.exists():
        _log.info("building %s from %s", path, SOURCES)
        folder.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            library, server = Path(temporary, "library"), Path(temporary, "server")
            _make("libtzml", _REMEDY, SOURCES / "host", f"O={library}", "TEE=n", library / "libtzml.so")
            # at its place before the server is linked, which remembers where it was found
            for name in ("libtzml.so.1", "libtzml.so"):
                write_file(folder / name, (library / name).read_bytes())
            _make("tzml-serve", _SERVER_REMEDY, SOURCES / "host" / "serve", f"O={server}", f"LIBTZML={folder}")
            executable = Path(temporary, "tzml-serve")
            shutil.copy(server / "tzml-serve", executable)
            executable.replace(path)  # whole, or not at all: several processes may build it at once
    return path


def _digest() -> str:
    """Of all that the programs are built from."""
    found = [file for part in ("host", "runtime") for file in (SOURCES / part).rglob("*")]
    files = sorted(file for file in found if file.suffix in _SUFFIXES or file.name == "Makefile")
    digest = hashlib.sha256(f"{platform.machine()} {platform.libc_ver()}".encode())
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.relative_to(SOURCES)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def _make(what: str, remedy: str, source: Path, *arguments: str | Path) -> None:
    for program in ("make", "cc"):
        if not shutil.which(program):
            raise TzmlError(f"this host has no {what}, and no {program} to build it", remedy)
    command: list[str | Path] = ["make", "-C", source, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        said = next((line for line in lines if "error: " in line), lines[-1])
        raise TzmlError(f"this host has no {what}, and it cannot be built: {said}", remedy)
