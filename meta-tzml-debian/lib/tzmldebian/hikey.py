# SPDX-License-Identifier: Apache-2.0
"""The HiKey's firmware, assembled from what was built and what the user supplies.

l-loader.bin is in the eMMC's first boot area, 2 KiB after its beginning. The boot ROM loads it to 0xf9800800 and
starts its first 2 KiB. These switch the cores to 64 bits and continue directly after themselves, at 0xf9801000,
with TF-A's BL2. They also tell the ROM what follows: from offset 20 the start and end addresses, from offset 28 an
entry for each part (see gen_loader_hikey.py in 96boards-hikey/l-loader).
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import Any

import bb

from . import host, vendorfiles

BLOCK = 512
HEAD_SIZE = 2048
MAGIC = b"BOOTMAGICNUMBER!"
ADDRESSES = struct.Struct("<II")
ENTRY = struct.Struct("<8s8sIII")  # magic, name, first block, blocks, whether in a boot area
ENTRY_MAGIC = b"ENTRYHDR"
ENTRIES = 28  # offset of the first entry
# bytes from 0xf9801000 to BL2_LIMIT in TF-A's port
BL2_MOST = 0x2F000
# the parts of fip.bin, by their names in TF-A's fiptool
FIP_PARTS = ("scp-fw", "soc-fw", "tos-fw", "tos-fw-extra1", "tos-fw-extra2", "nt-fw")


def l_loader(upstream: bytes, bl2: bytes) -> bytes:
    """l-loader.bin, made of the first 2 KiB of upstream's file followed by `bl2`. Raises ValueError."""
    if upstream[4 : 4 + len(MAGIC)] != MAGIC or upstream[ENTRIES : ENTRIES + 8] != ENTRY_MAGIC:
        raise ValueError(
            f"this is not an l-loader.bin: it lacks {MAGIC.decode()} at offset 4 or the entries at offset {ENTRIES}"
        )
    if len(bl2) > BL2_MOST:
        raise ValueError(f"BL2 has {len(bl2)} bytes, but only {BL2_MOST} fit")
    head = bytearray(upstream[:HEAD_SIZE].ljust(HEAD_SIZE, b"\0"))
    place = ENTRIES
    while head[place : place + 8] == ENTRY_MAGIC:
        if place > ENTRIES:  # the first entry is for the head itself
            head[place : place + ENTRY.size] = bytes(ENTRY.size)
        place += ENTRY.size
    blocks = -(-len(bl2) // BLOCK)
    # after the reserved 2 KiB and the head
    ENTRY.pack_into(head, ENTRIES + ENTRY.size, ENTRY_MAGIC, b"bl1", 2 * HEAD_SIZE // BLOCK, blocks, 1)
    start, _ = ADDRESSES.unpack_from(head, 20)
    ADDRESSES.pack_into(head, 20, start, start + HEAD_SIZE + blocks * BLOCK)
    return bytes(head) + bl2.ljust(blocks * BLOCK, b"\0")


def fip(fiptool: Path, parts: dict[str, Path], target: Path) -> None:
    """Write fip.bin with the parts that FIP_PARTS names."""
    options = [word for name in FIP_PARTS for word in (f"--{name}", str(parts[name]))]
    # each part that TF-A loads from the eMMC begins at a block
    host.run([str(fiptool), "create", "--align", str(BLOCK), *options, str(target)])


def assemble(d: Any) -> None:
    """do_compile of hikey-firmware: make everything that the user's files allow."""
    build, sysroot = Path(d.getVar("B")), Path(d.getVar("STAGING_DIR_HOST"))
    tfa, optee = sysroot / "usr/share/trusted-firmware-a", sysroot / "usr/lib/firmware"
    for name in d.getVar("VENDOR_FILES").split():
        vendorfiles.check(d, name)
    if mcuimage := vendorfiles.path(d, "mcuimage.bin"):
        parts = {
            "scp-fw": mcuimage,
            "soc-fw": tfa / "bl31.bin",
            "tos-fw": optee / "tee-header_v2.bin",
            "tos-fw-extra1": optee / "tee-pager_v2.bin",
            "tos-fw-extra2": optee / "tee-pageable_v2.bin",
            "nt-fw": sysroot / "usr/lib/u-boot/u-boot.bin",
        }
        fip(tfa / "fiptool", parts, build / "fip.bin")
    if given := vendorfiles.path(d, "l-loader.bin"):
        try:
            build.joinpath("l-loader.bin").write_bytes(
                l_loader(given.read_bytes(), tfa.joinpath("bl2.bin").read_bytes())
            )
        except ValueError as error:
            bb.fatal(f"{given}: {error}")
        shutil.copyfile(given, build / "recovery.bin")
    if tool := vendorfiles.path(d, "hisi-idt.py"):
        shutil.copyfile(tool, build / "hisi-idt.py")
