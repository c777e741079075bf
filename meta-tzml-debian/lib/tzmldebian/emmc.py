# SPDX-License-Identifier: Apache-2.0
"""Images of an eMMC's partitions and its partition table, for fastboot (image-fastboot.bbclass)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bb

from . import fat, host

SECTOR = 512
FIRST = (1 << 20) // SECTOR
# protective MBR, header and 128 entries; the end of the disk has a copy without the MBR
TABLE_SECTORS = 34
# GUIDs of sgdisk's codes 0700, EF02, EF00, 8301 and 8300, which upstream's tables use
TYPES = {
    "basic": "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
    "bios-boot": "21686148-6449-6E6F-744E-656564454649",
    "esp": "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "linux-reserved": "8DA63339-0007-60C0-C436-083AC8230908",
    "linux": "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
}


@dataclass(frozen=True)
class Partition:
    """A partition. Start and size are in sectors."""

    name: str
    start: int
    size: int
    kind: str


def make(d: Any) -> None:
    """do_image_fastboot."""
    boot, system, table, root = (
        Path(d.getVar(name)) for name in ("IMAGE_BOOT_IMG", "IMAGE_SYSTEM_IMG", "IMAGE_PTABLE_IMG", "IMAGE_EXT4")
    )
    layout = partitions(d.getVar("EMMC_PARTITIONS").split(), int(d.getVar("EMMC_SECTORS")))
    room = next((partition.size * SECTOR for partition in layout if partition.name == "system"), 0)
    if root.stat().st_size > room:
        need, have = root.stat().st_size >> 20, room >> 20
        bb.fatal(
            f"the root file system has {need} MiB, but the partition `system` has {have} MiB: see EMMC_SECTORS"
        )
    fat.make(d, boot)
    host.run(["img2simg", str(root), str(system)])
    table.write_bytes(partition_table(layout, int(d.getVar("EMMC_SECTORS")), d.getVar("IMAGE_DISK_ID")))


def partitions(entries: list[str], sectors: int) -> list[Partition]:
    """The partitions that EMMC_PARTITIONS lists as `name:MiB:type`."""
    found: list[Partition] = []
    start, end = FIRST, sectors - TABLE_SECTORS + 1
    for number, entry in enumerate(entries, 1):
        name, size, kind = [*entry.split(":"), "", ""][:3]
        if kind not in TYPES or not (size.isdigit() or (size == "-" and number == len(entries))):
            bb.fatal(f"EMMC_PARTITIONS: {entry} must be name:MiB:type, where type is one of {', '.join(TYPES)}")
        length = end - start if size == "-" else int(size) * fat.MIB // SECTOR
        found.append(Partition(name, start, length, kind))
        start += length
    if start > end or found[-1].size <= 0:
        bb.fatal(f"EMMC_PARTITIONS: {start} sectors do not fit into EMMC_SECTORS = {sectors}")
    return found


def partition_table(layout: list[Partition], sectors: int, disk_id: str) -> bytes:
    """The primary GPT with the protective MBR. fastboot writes the copy at the end of the eMMC."""
    prefix = disk_id.removeprefix("0x")
    lines = ["label: gpt", f"label-id: {prefix}-0000-4000-8000-0000000000ff", f"first-lba: {TABLE_SECTORS}"]
    for number, partition in enumerate(layout, 1):
        place = f"start={partition.start}, size={partition.size}, type={TYPES[partition.kind]}"
        lines.append(f'{place}, uuid={prefix}-0000-4000-8000-0000000001{number:02x}, name="{partition.name}"')
    with tempfile.NamedTemporaryFile() as disk:
        disk.truncate(sectors * SECTOR)
        host.run(["sfdisk", "--quiet", disk.name], input="\n".join(lines) + "\n")
        disk.seek(0)
        return disk.read(TABLE_SECTORS * SECTOR)
