"""A USB-SD-Mux made of files, which udev does not know."""

from __future__ import annotations

import attr
from labgrid import target_factory
from labgrid.resource.common import ManagedResource, ResourceManager
from labgrid.resource.udev import USBSDMuxDevice


@attr.s(eq=False)
class _NoManager(ResourceManager):
    """A manager for resources that are always there."""


@target_factory.reg_resource
@attr.s(eq=False)
class FileSDMuxDevice(USBSDMuxDevice):
    """A USBSDMuxDevice made of files.

    Args:
        control_path (str): the file with the chip's registers
        disk_path (str): the card

    """

    manager_cls = _NoManager

    def __attrs_post_init__(self) -> None:
        self.timeout = 10.0
        ManagedResource.__attrs_post_init__(self)

    def poll(self) -> None:
        """Nothing to look for: the paths are given."""
