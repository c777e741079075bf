"""An AArch64 Python with ONNX Runtime's and LiteRT's own wheels, for QEMU's user emulation.

Debian's packages and the wheels are unpacked, not installed. apt and pip download both, as configured on this
machine.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from tzml.cache import cache_folder
from tzml.errors import TzmlError

_PACKAGES = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
_PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64")

LITERT = "ai-edge-litert==2.3.0"

_PART_OF_CORTEX_A57, _PART_OF_CORTEX_A53 = "0xd07", "0xd03"

# QEMU falls back to the host's files if the guest's root has none, and ONNX Runtime's cpuinfo trusts them
_FILES = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    f"CPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: {_PART_OF_CORTEX_A57}\nCPU revision\t: 0\n\n",
    "sys/devices/system/cpu/possible": "0\n",
    "sys/devices/system/cpu/present": "0\n",
    "sys/devices/system/cpu/online": "0\n",
}


class Aarch64Python:
    """The unpacked environment. It is made on first use and then kept in the cache. Raises TzmlError."""

    def __init__(self) -> None:
        version = metadata.version("onnxruntime")
        self.root = cache_folder("bench") / f"aarch64-onnxruntime-{version}-{LITERT}"
        self.site = self.root / "site"
        if not self.root.exists():
            part = self.root.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            _unpack_debian(part)
            wheels = [f"onnxruntime=={version}", "numpy", LITERT]
            _unpack_wheels(part, _python(part).name.removeprefix("python"), wheels)
            for name, text in _FILES.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_text(text)
            part.replace(self.root)

    @property
    def python(self) -> Path:
        return _python(self.root)

    def shown_as_cortex_a53(self, folder: Path) -> Path:
        """The root, with a processor that says it is a Cortex-A53; made in `folder`, of links."""
        root = folder / "cortex-a53"
        if not root.exists():
            root.mkdir()
            for entry in self.root.iterdir():
                if entry.name != "proc":
                    (root / entry.name).symlink_to(entry)
            (root / "proc").mkdir()
            text = _FILES["proc/cpuinfo"].replace(_PART_OF_CORTEX_A57, _PART_OF_CORTEX_A53)
            (root / "proc/cpuinfo").write_text(text)
        return root


def _python(root: Path) -> Path:
    """The path of usr/bin/python3.x, to which `python3` is a symbolic link."""
    return next((root / "usr/bin").glob("python3.[0-9]*"))


def _unpack_debian(root: Path) -> None:
    """Unpack packages for arm64 and their dependencies, with a package database of their own."""
    apt = root / "apt"
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": str(apt / "state"),
        "Dir::State::status": str(apt / "status"),
        "Dir::Cache": str(apt / "cache"),
    }
    options = [argument for name, value in settings.items() for argument in ("-o", f"{name}={value}")]
    _start(["apt-get", *options, "update"])
    _start(["apt-get", *options, "install", "-y", "--download-only", "--no-install-recommends", *_PACKAGES])
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        _start(["dpkg-deb", "-x", str(package), str(root)])
    shutil.rmtree(apt)


def _unpack_wheels(root: Path, version: str, requirements: Sequence[str]) -> None:
    folder = root / "wheels"
    platforms = [argument for name in _PLATFORMS for argument in ("--platform", name)]
    # without dependencies: an inference imports nothing else
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    _start([*command, "--python-version", version, *platforms, "-d", str(folder), *requirements])
    for wheel in folder.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(root / "site")
    shutil.rmtree(folder)


def _start(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TzmlError(f"{' '.join(command[:2])} failed: {done.stderr.strip().splitlines()[-1]}")
