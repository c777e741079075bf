# SPDX-License-Identifier: Apache-2.0
"""The image of an SD card: a FAT partition from which the board boots, and the root file system.

It is made without root and without loop devices. The same files give the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import fat, host
from .fat import MIB

SECTOR = 512
# Cards erase blocks of 4 MiB, so partitions begin at such a block.
ALIGNMENT = 4 * MIB


def make(d: Any) -> None:
    """do_image_sdcard."""
    card, root, work = (Path(d.getVar(name)) for name in ("IMAGE_SDCARD", "IMAGE_EXT4", "WORKDIR"))
    boot = work / "boot.vfat"
    fat.make(d, boot)
    _make_card(card, [boot, root], d.getVar("IMAGE_DISK_ID"))
    boot.unlink()
    host.run(["bmaptool", "create", "--output", f"{card}.bmap", str(card)])


def _make_card(card: Path, partitions: list[Path], disk_id: str) -> None:
    """Write the card with a DOS partition table. The first partition is FAT."""
    starts, end = [], ALIGNMENT
    for path in partitions:
        starts.append(end)
        end += -(-path.stat().st_size // ALIGNMENT) * ALIGNMENT
    card.unlink(missing_ok=True)
    with card.open("wb") as stream:
        stream.truncate(end)
    table = [f"label: dos\nlabel-id: {disk_id}"]
    for start, path, kind in zip(starts, partitions, ("c, bootable", "83"), strict=True):
        table.append(f"start={start // SECTOR}, size={path.stat().st_size // SECTOR}, type={kind}")
    host.run(["sfdisk", "--quiet", str(card)], input="\n".join(table) + "\n")
    for start, path in zip(starts, partitions, strict=True):
        place = [f"of={card}", "bs=1M", f"seek={start // MIB}", "conv=sparse,notrunc"]
        host.run(["dd", f"if={path}", *place, "status=none"])
