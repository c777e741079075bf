"""Check what every environment needs of this host.

KVM does not matter: QEMU emulates TrustZone in software only.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tzml_lab.doctor.check import Check
from tzml_lab.environment import ROOT

GIB = 1024**3
BUILD_SPACE = 15 * GIB  # README.md
RUN_SPACE = 2 * GIB
FORMAT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


def check_host(results: Path) -> Iterator[Check]:
    """Check packages, emulation of arm64 programs and disk space."""
    yield _packages()
    yield _binfmt()
    yield _space("disk space for building", ROOT / "build", BUILD_SPACE, needed=False)
    yield _space("disk space for results", results, RUN_SPACE)
    yield _writable(results)


def _packages() -> Check:
    bootstrap = ROOT / "tools" / "bootstrap"
    if not bootstrap.exists():
        return Check("Debian packages", False, "not known here", "call it in a checkout of tzml", needed=False)
    done = subprocess.run([bootstrap, "--missing"], capture_output=True, text=True, check=False)
    missing = done.stdout.split()
    found = f"missing: {' '.join(missing)}" if missing else "all of tools/host-packages.txt"
    remedy = f"sudo apt-get install --no-install-recommends {' '.join(missing)}"
    return Check("Debian packages", not missing and done.returncode == 0, found, remedy)


def _binfmt() -> Check:
    """Mmdebstrap runs arm64 package scripts."""
    native = platform.machine() == "aarch64"
    found = "this host is one" if native else "registered" if FORMAT.exists() else "not registered with binfmt_misc"
    return Check("running arm64 programs", native or FORMAT.exists(), found, "sudo tools/bootstrap", needed=False)


def _existing(path: Path) -> Path:
    """The nearest folder above that exists."""
    return next(folder for folder in (path, *path.resolve().parents) if folder.is_dir())


def _space(what: str, folder: Path, wanted: int, *, needed: bool = True) -> Check:
    free = shutil.disk_usage(_existing(folder)).free
    found = f"{free / GIB:.1f} GiB free in {_existing(folder)}, {wanted / GIB:.0f} wanted"
    remedy = f"make room there: old runs are in {ROOT / 'results'}, downloads in ~/.cache/tzml"
    return Check(what, free >= wanted, found, remedy, needed)


def _writable(folder: Path) -> Check:
    existing = _existing(folder)
    ok = os.access(existing, os.W_OK | os.X_OK)
    remedy = f"sudo chown {os.getuid()} {existing}, or give another folder with --results"
    return Check("results can be written", ok, str(existing), remedy)
