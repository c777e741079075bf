# SPDX-License-Identifier: Apache-2.0
"""The SD card of a Raspberry Pi whose root file system is its initrd, from the Debian feed's card."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

SECTOR = 512
TABLE, ENTRY, SIGNATURE = 446, struct.Struct("<8xII"), 510
NAME = "initramfs.cpio"  # as the Debian feed's config.txt calls it
ARGUMENTS = "cmdline.txt"


class CardError(Exception):
    """The card cannot be made; the message says why."""


def first_partition(card: Path) -> tuple[int, int]:
    """Where the first partition of a card with a DOS partition table begins and how long it is, in bytes."""
    with card.open("rb") as stream:
        sector = stream.read(SECTOR)
    if sector[SIGNATURE:] != b"\x55\xaa":
        raise CardError(f"{card} has no DOS partition table: build the Debian feed's image again")
    start, sectors = ENTRY.unpack_from(sector, TABLE)
    if not start or not sectors:
        raise CardError(f"{card} has no first partition: build the Debian feed's image again")
    return start * SECTOR, sectors * SECTOR


def make(base: Path, initrd: Path, arguments: str, card: Path) -> dict[str, Path]:
    """Write the card and its block map; return them by their roles in image.json. Raises CardError.

    The card begins as `base` does, up to the end of the first partition, and has no other partition.
    """
    start, size = first_partition(base)
    new = card.with_name(f".{card.name}.new")
    new.unlink(missing_ok=True)
    copy = ["dd", f"if={base}", f"of={new}", "bs=1M", f"count={start + size}", "conv=sparse", "status=none"]
    run([*copy, "iflag=count_bytes"])
    os.truncate(new, start + size)
    with new.open("r+b") as stream:  # entries of the other partitions
        stream.seek(TABLE + 16)
        stream.write(bytes(3 * 16))
    lines = card.with_name(ARGUMENTS)
    lines.write_text(f"{arguments}\n")
    disk = f"{new}@@{start}"
    run(["mdel", "-i", disk, f"::/{NAME}", f"::/{ARGUMENTS}"])
    run(["mcopy", "-m", "-i", disk, str(initrd), f"::/{NAME}"])
    run(["mcopy", "-i", disk, str(lines), f"::/{ARGUMENTS}"])
    lines.unlink()
    new.replace(card)
    blocks = card.with_name(f"{card.name}.bmap")
    run(["bmaptool", "create", "--output", str(blocks), str(card)])
    return {"sdcard": card, "sdcard-bmap": blocks}


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CardError(f"{command[0]}: {said[-1] if said else f'exit status {done.returncode}'}")
