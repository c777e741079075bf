# SPDX-License-Identifier: Apache-2.0
"""The FAT partition from which a board boots. It is made without root; the same files give the same bytes."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import bb

from . import host

MIB = 1 << 20


def make(d: Any, image: Path) -> None:
    """Write IMAGE_BOOT_FILES to a file system of IMAGE_BOOT_SIZE MiB."""
    files = boot_files(d.getVar("IMAGE_BOOT_FILES").split(), Path(d.getVar("DEPLOY_DIR_IMAGE")))
    _fill(image, int(d.getVar("IMAGE_BOOT_SIZE")) * MIB, files, Path(d.getVar("WORKDIR"), "boot"), d)


def boot_files(entries: list[str], folder: Path) -> dict[str, Path]:
    """Map names on the card to files, for entries `name`, `folder/*` and `name;name-on-the-card` below `folder`."""
    found: dict[str, Path] = {}
    for entry in entries:
        pattern, _, name = entry.partition(";")
        paths = sorted(folder.glob(pattern))
        if not paths:
            bb.fatal(f"IMAGE_BOOT_FILES: {folder} has no {pattern}: correct the name, or add its recipe")
        if name and len(paths) > 1:
            bb.fatal(f"IMAGE_BOOT_FILES: {entry} matches several files, which cannot all become {name}")
        found |= {name or path.name: path for path in paths}
    return found


def _fill(image: Path, size: int, files: dict[str, Path], staging: Path, d: Any) -> None:
    used = sum(path.stat().st_size for path in files.values())
    if used > size * 0.95:
        bb.fatal(f"IMAGE_BOOT_SIZE: {used // MIB} MiB of files do not fit into {size // MIB} MiB: make it larger")
    epoch = int(d.getVar("SOURCE_DATE_EPOCH"))
    for name, path in files.items():
        copy = staging / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        os.utime(copy, (epoch, epoch))
    image.unlink(missing_ok=True)
    with image.open("wb") as stream:
        stream.truncate(size)
    serial = d.getVar("IMAGE_DISK_ID").removeprefix("0x")
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}
    host.run(["mkfs.vfat", "--invariant", "-F", "32", "-n", "TZML-BOOT", "-i", serial, str(image)])
    folders = sorted({str(Path(name).parent) for name in files} - {"."})
    if folders:
        host.run(["mmd", "-i", str(image), *(f"::/{folder}" for folder in folders)], env=env)
    for name in sorted(files):
        host.run(["mcopy", "-m", "-i", str(image), str(staging / name), f"::/{name}"], env=env)
