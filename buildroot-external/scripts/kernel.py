# SPDX-License-Identifier: Apache-2.0
"""A small kernel for an image whose root file system is its initrd, from Debian's source of Linux.

Debian's own kernel is for every machine, and most of a boot under QEMU would be the start of its drivers. Buildroot
could build this one, but only with tools whose sources are not in Debian's archive.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from parts import EXTERNAL, SUITE, BuildError, Downloads, follow, made_once, mark_made, run, say
from tzmldebian import tree

CROSS_COMPILE = "aarch64-linux-gnu-"
# in the output of make: the folder whose files are being compiled
STEP = re.compile(r"\s+(?:AS|CC) +(?P<folder>\w+)/")


def fragment_of(machine: str) -> Path | None:
    """The settings of the machine's own kernel, if it has one. Otherwise, it takes Debian's."""
    path = EXTERNAL / f"board/{machine}/kernel.config"
    return path if path.exists() else None


def lost(fragment: str, config: str) -> list[str]:
    """The settings of a fragment that a configuration made of it does not have."""
    kept = config.splitlines()
    return [line for line in fragment.splitlines() if line.startswith("CONFIG_") and line not in kept]


def make(output: Path, image: Path, fragment: Path, downloads: Downloads, lock: int) -> dict[str, Any]:
    """Build the kernel if it is not there, of the series that the Debian feed's image has. Raises BuildError.

    Returns what image_json.py has to know: `path` of the Image, `release` (uname -r), and `package`, the source.
    """
    series = ".".join(json.loads((image / "image.json").read_text())["kernel_release"].split(".")[:2])
    [package] = downloads.packages(SUITE, "arm64", (f"linux-source-{series}",))
    version = run([f"{CROSS_COMPILE}gcc", "--version"]).splitlines()[0]
    key = "\n".join([package.name, version, tree.sha256(fragment)])
    folder = output / "kernel"
    if not made_once(folder, key):
        release = _build(output / "kernel-build", package, fragment, key, lock)
        folder.mkdir()
        for name in ("Image", "config"):
            (output / "kernel-build" / name).replace(folder / name)
        (folder / "release").write_text(f"{release}\n")
        mark_made(folder, key)
        shutil.rmtree(output / "kernel-build")
    release = (folder / "release").read_text().strip()
    return {"path": str(folder / "Image"), "release": release, "package": str(package)}


def _build(folder: Path, package: Path, fragment: Path, key: str, lock: int) -> str:
    """Unpack, configure and compile in a folder, or go on there. Its Image and config are then in it."""
    source = folder / "linux"
    if not made_once(folder, key):
        say(f"kernel: unpacking {package.name}")
        source.mkdir(parents=True)
        run(["dpkg-deb", "-x", str(package), str(folder / "package")])
        [packed] = (folder / "package/usr/src").glob("linux-source-*.tar.xz")
        run(["tar", "-C", str(source), "--strip-components=1", "-xf", str(packed)])
        (folder / "when").write_text(datetime.fromtimestamp(packed.stat().st_mtime, UTC).isoformat())
        shutil.rmtree(folder / "package")
        mark_made(folder, key)
    settings = {
        "ARCH": "arm64",
        "CROSS_COMPILE": CROSS_COMPILE,
        "KBUILD_BUILD_HOST": "tzml",
        "KBUILD_BUILD_TIMESTAMP": (folder / "when").read_text(),
        "KBUILD_BUILD_USER": "tzml",
    }
    command = ["make", "-C", str(source), *(f"{name}={value}" for name, value in settings.items())]
    if not (source / ".config").exists():  # made anew, it would have everything compiled again
        run([*command, f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig"])
    if missing := lost(fragment.read_text(), (source / ".config").read_text()):
        raise BuildError(f"this kernel does not take {', '.join(missing)}: correct {fragment}")
    seen: set[str] = set()

    def step(line: str) -> str | None:
        found = STEP.match(line)
        if not found or found["folder"] in seen:
            return None
        seen.add(found["folder"])
        return f"kernel: {found['folder']}"

    follow([*command, f"-j{os.cpu_count() or 1}", "Image"], folder.with_name("kernel.log"), step, lock)
    shutil.copy(source / "arch/arm64/boot/Image", folder)
    shutil.copy(source / ".config", folder / "config")
    return run(["make", "--silent", *command[1:], "kernelrelease"]).strip()
