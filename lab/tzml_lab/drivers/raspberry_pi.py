"""QEMU's Raspberry Pi 3, booted from the same image that goes to the board's SD card."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path

import attr
from labgrid import target_factory

from tzml.errors import TzmlError
from tzml.image import rebuild
from tzml_lab.consoles.lines import Speaker
from tzml_lab.consoles.shared_uart import SharedConsoleRecord
from tzml_lab.drivers.qemu import TrustZoneQEMUDriver
from tzml_lab.emulation.disk_overlay import DiskOverlay
from tzml_lab.emulation.video_core import CORES, VideoCore, card_size, emulated_cores
from tzml_lab.environment import run_folder


@target_factory.reg_driver
@attr.s(eq=False)
class EmulatedRaspberryPiDriver(TrustZoneQEMUDriver):
    """A Raspberry Pi 3 with the card `rootdisk` (default: sdcard). The card's FAT partition decides what starts.

    Both worlds share the mini UART, as on the board. OP-TEE's lines are recognised by how they begin. The other
    UART leads to Bluetooth, which is not emulated. Neither is the board's Ethernet: the network is a USB adapter.

    Args:
        cores (int): optional, how many of the four cores start (default: what the board's descriptor says)

    See TrustZoneQEMUDriver for the others.

    """

    rootdisk: str = attr.ib(default="sdcard", validator=attr.validators.instance_of(str))
    cores: int | None = attr.ib(
        default=None, validator=attr.validators.optional(attr.validators.in_(range(1, CORES + 1)))
    )

    @cached_property
    def record(self) -> SharedConsoleRecord:
        """The record of the consoles, also written to the folder in the option `run_folder` if there is one."""
        return SharedConsoleRecord(run_folder(self._config))

    @property
    def overlay(self) -> DiskOverlay:
        """The card that the machine writes to. Its size is a power of two, as QEMU requires. Raises TzmlError."""
        found = super().overlay
        assert found
        if not found.base.is_file():
            raise TzmlError(f"{found.base} is missing", rebuild(self.image.folder))
        return replace(found, size=card_size(found.base.stat().st_size))

    def get_qemu_base_args(self) -> list[str]:
        """QEMU's command line but for consoles and monitor. Raises TzmlError."""
        command = super().get_qemu_base_args()
        cores = self.cores or emulated_cores(self.image.description.machine)
        core = VideoCore(self.overlay.base, self.scratch / "videocore", self.emulator.memory_mib, cores)
        return [*command, *core.arguments(self.emulator.cpu)]

    def terminal_args(self, secure_log: Path, *, both: bool) -> list[str]:
        """QEMU's arguments for a terminal. Both worlds always share it."""
        return ["-serial", "null", "-chardev", f"stdio,id=shared,mux=on,logfile={secure_log},signal=off",
                "-serial", "chardev:shared", "-mon", "chardev=shared"]  # fmt: skip

    def _add_consoles(self) -> None:
        """Leave the first UART unconnected. The second is the only console."""
        self._listeners = {Speaker.normal: self.listener}
        place = self.command.index("-serial")
        self.command[place:place] = ["-serial", "null"]
