"""Do what a Raspberry Pi 3's VideoCore does: read the card's FAT partition and load memory from it.

QEMU's raspi3b has the Arm cores and the peripherals, but nothing that starts them. The real VideoCore runs
bootcode.bin and start.elf, reads config.txt, loads files, applies overlays to the device tree, enters memory,
kernel arguments and initramfs into it, and starts the Arm cores at address 0. This module does it with mtools and
the device tree compiler's tools.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tzml.boards import boards
from tzml.errors import TzmlError
from tzml_lab.emulation import config_txt

REBUILD = "build the image again: kas build kas/rpi3.yml"
CORES = 4
# Frequency of the Arm cores' counter
CRYSTAL_HZ = 19_200_000
# Files that the boot ROM and the first stage need before they look at ours
_FIRMWARE = ("bootcode.bin", "start.elf", "fixup.dat")
_PERIPHERALS = 0x3F000000
# Address of our start code, in the VideoCore's part of memory, which Linux does not use
_START = _PERIPHERALS - 0x10000
# Bytes of room in the device tree for what TF-A adds
_TREE_PADDING = 4096
# Machine code that all cores start with. A core that shall not start sleeps here. In TF-A it would wait with WFE,
# which QEMU executes as a busy loop.
_PARK = (
    0xD53800A1,  # mrs  x1, mpidr_el1
    0x92401C21,  # and  x1, x1, #0xff       the number of this core
    0xF1000C3F,  # cmp  x1, #CORES - 1      (set below)
    0x54000069,  # b.ls over the loop
    0xD503207F,  # wfi
    0x17FFFFFF,  # b    back to wfi
)
_CORES_PLACE, _CORES_SHIFT = 2, 10
# Give GPIO 14 and 15 to the mini UART (function ALT5), as enable_uart=1 does. TF-A checks which UART has the pins.
_MINI_UART_ON_PINS = (
    0xB50000A1,  # cbnz x1, past the next four: the first core does it
    0xD2A7E400,  # mov  x0, #0x3f200000     the GPIO block
    0x52840001,  # mov  w1, #0x2000         function 2 for pin 14
    0x72A00021,  # movk w1, #0x1, lsl #16   and for pin 15
    0xB9000401,  # str  w1, [x0, #4]        GPFSEL1
)
_TO_ARMSTUB = (
    0xD2800000,  # mov  x0, #0
    0xD61F0000,  # br   x0
)


@dataclass(frozen=True)
class Loaded:
    """A file, and its address in the Arm cores' memory."""

    path: Path
    address: int

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.address + self.path.stat().st_size


def emulated_cores(machine: str) -> int:
    """How many cores the board's descriptor lets start."""
    board = boards().get(machine)
    return (board and board.emulation and board.emulation.cores) or CORES


def card_size(size: int) -> int:
    """Bytes of the smallest card that holds `size` bytes. QEMU takes only powers of two."""
    return 1 << (size - 1).bit_length()


class VideoCore:
    """The VideoCore of a Pi with this card, at power-on.

    Args:
        card: image of an SD card; its first partition is FAT
        folder: where files are put together; what was there before is replaced
        memory_mib: all memory of the board
        cores: how many of the four start; Linux is told that the others are broken

    """

    def __init__(self, card: Path, folder: Path, memory_mib: int = 1024, cores: int = CORES) -> None:
        self._cores = cores
        self._files = folder / "card"
        self._tree = folder / "device-tree.dtb"
        self._start = folder / "start.bin"
        self._memory = memory_mib << 20
        shutil.rmtree(folder, ignore_errors=True)
        self._files.mkdir(parents=True)
        copy_partition(card, self._files)
        for name in _FIRMWARE:
            self._file(name)
        self.config = config_txt.parse(self._file("config.txt").read_text())

    def arguments(self, cpu: str) -> list[str]:
        """QEMU's arguments for memory and cores as the VideoCore leaves them. Raises TzmlError.

        Args:
            cpu: QEMU's name for the kind of cores

        """
        # By default QEMU counts at 62.5 MHz, and time in the machine would pass three times too fast.
        arguments = ["-global", f"{cpu}-arm-cpu.cntfrq={CRYSTAL_HZ}"]
        for loaded in self.load():
            arguments += ["-device", f"loader,file={loaded.path},addr={loaded.address:#x},force-raw=on"]
        for core in range(CORES):
            arguments += ["-device", f"loader,addr={_START:#x},cpu-num={core}"]
        return arguments

    def load(self) -> list[Loaded]:
        """Everything in memory when the Arm cores start. Raises TzmlError."""
        config = self.config
        if not config.arm_64bit or not config.armstub or config.device_tree_address is None:
            raise TzmlError(
                "config.txt lacks arm_64bit=1, armstub= or device_tree_address=: OP-TEE would not start",
                "compare it with meta-tzml-debian/recipes-bsp/rpi-config",
            )
        found = [
            Loaded(self._file(config.armstub), 0),
            Loaded(self._file(config.kernel), config.kernel_address),
        ]
        if config.initramfs:
            found.append(Loaded(self._file(config.initramfs[0]), config.initramfs[1]))
        self._make_tree(found[-1] if config.initramfs else None)
        found.append(Loaded(self._tree, config.device_tree_address))
        self._check_places(found)
        self._start.write_bytes(start_code(self._cores, mini_uart=config.enable_uart))
        return [*found, Loaded(self._start, _START)]

    def _file(self, name: str) -> Path:
        path = self._files / name
        if not path.is_file():
            raise TzmlError(f"the card's first partition has no {name}", REBUILD)
        return path

    def _make_tree(self, initramfs: Loaded | None) -> None:
        """Write the device tree that Linux gets."""
        config = self.config
        overlays = [self._file(f"{config.overlay_prefix}{name}.dtbo") for name in config.dtoverlay]
        self._tree.write_bytes(self._file(config.tree).read_bytes())
        if overlays:
            _run("fdtoverlay", "-i", str(self._tree), "-o", str(self._tree), *map(str, overlays))
        arguments = self._file(config.cmdline).read_text().strip()
        self._set("/memory@0", "reg", "x", "0", f"{self._arm_memory:x}")
        self._set("/chosen", "bootargs", "s", arguments)
        for core in range(self._cores, CORES):
            self._set(f"/cpus/cpu@{core}", "status", "s", "fail")
        if initramfs:
            self._set("/chosen", "linux,initrd-start", "x", f"{initramfs.address:x}")
            self._set("/chosen", "linux,initrd-end", "x", f"{initramfs.end:x}")
        _run(
            "dtc", "-q", "-I", "dtb", "-O", "dtb", "-p", str(_TREE_PADDING), "-o", str(self._tree), str(self._tree)
        )

    def _set(self, node: str, name: str, kind: str, *values: str) -> None:
        _run("fdtput", "-t", kind, str(self._tree), node, name, *values)

    @property
    def _arm_memory(self) -> int:
        """The end of the memory that the VideoCore leaves to the Arm cores."""
        return min(self._memory - (self.config.gpu_mem << 20), _PERIPHERALS)

    def _check_places(self, found: list[Loaded]) -> None:
        ordered = sorted(found, key=lambda loaded: loaded.address)
        for before, after in pairwise(ordered):
            if before.end > after.address:
                raise TzmlError(
                    f"{before.path.name} ends at {before.end:#x}, {after.path.name} begins at {after.address:#x}",
                    "move one of them in config.txt",
                )
        if ordered[-1].end > self._arm_memory:
            raise TzmlError(
                f"{ordered[-1].path.name} reaches {ordered[-1].end:#x}; memory ends at {self._arm_memory:#x}",
                "move it in config.txt, or lower gpu_mem",
            )


def start_code(cores: int, *, mini_uart: bool) -> bytes:
    """The code that all cores run first. Those with a number below `cores` continue at address 0."""
    park = list(_PARK)
    park[_CORES_PLACE] = park[_CORES_PLACE] & ~(0xFFF << _CORES_SHIFT) | (cores - 1) << _CORES_SHIFT
    code = (*park, *(_MINI_UART_ON_PINS if mini_uart else ()), *_TO_ARMSTUB)
    return struct.pack(f"<{len(code)}I", *code)


def copy_partition(card: Path, folder: Path) -> None:
    """Copy all files of the card's first partition. Raises TzmlError."""
    with card.open("rb") as stream:
        sector = stream.read(512)
    # the first of four entries of a DOS partition table: kind at byte 4, first sector at byte 8
    kind, start = (sector[450], struct.unpack_from("<I", sector, 454)[0]) if len(sector) == 512 else (0, 0)
    if sector[510:] != b"\x55\xaa" or kind not in (0x0B, 0x0C):
        raise TzmlError(f"{card} does not begin with a FAT partition", REBUILD)
    _run("mcopy", "-s", "-Q", "-n", "-i", f"{card}@@{start * 512}", "::*", str(folder), package="mtools")


def _run(*command: str, package: str = "device-tree-compiler") -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise TzmlError(f"{command[0]} is not installed", f"sudo apt-get install {package}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise TzmlError(f"{command[0]} failed: {said[-1]}", f"the command was: {' '.join(command)}")
