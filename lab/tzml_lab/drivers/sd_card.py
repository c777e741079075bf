"""Write an SD card through a mux, with the block map that comes with the image."""

from __future__ import annotations

import shlex
import subprocess

import attr
from labgrid import step, target_factory
from labgrid.driver import USBStorageDriver
from labgrid.driver.usbstoragedriver import Mode


@target_factory.reg_driver
@attr.s(eq=False)
class SDCardDriver(USBStorageDriver):
    """USBStorageDriver that writes with bmaptool, which also verifies the image, and that accepts a file as a card.

    A stand-in board has a file instead of a card. A file has no size in /sys, and grows as needed.
    """

    @step()
    def write(self) -> None:
        """Write the image. Raises CalledProcessError, ExecutionError."""
        self.write_image(mode=Mode.BMAPTOOL)

    def get_size(self, partition: int | None = None) -> int:
        if subprocess.call([*self.storage.command_prefix, "test", "-f", shlex.quote(self.storage.path)]) == 0:
            return 1
        size: int = super().get_size(partition)
        return size
