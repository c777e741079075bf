"""Machines on which the normal world can reach into the TEE's memory: nothing is secret there."""

from __future__ import annotations

from pathlib import Path

# What a user must know, by the machine's name in image.json
_UNPROTECTED = {
    "rpi3": (
        "On the Raspberry Pi 3 nothing protects OP-TEE's memory from the normal world: Linux can read and change "
        "models, weights and keys in it. Use it to develop and to measure, not to keep secrets."
    ),
    "hikey": (
        "On the HiKey whoever is root in Linux can lift the protection of OP-TEE's memory, because nothing "
        "locks the memory controller. Use it to develop and to measure, not to keep secrets."
    ),
}
# and by the chip's name in the device tree
_CHIPS = {b"brcm,bcm2837": "rpi3", b"hisilicon,hi6220": "hikey"}


def unprotected(machine: str) -> str:
    """What a user must know about a machine on which the TEE keeps no secret; "" for all others.

    Args:
        machine: its name in image.json

    """
    return _UNPROTECTED.get(machine, "")


def unprotected_here(compatible: Path = Path("/proc/device-tree/compatible")) -> str:
    """The same about the machine that this program runs on.

    Args:
        compatible: the device tree's names for it, each with a zero byte at its end

    """
    try:
        names = compatible.read_bytes().split(b"\0")
    except OSError:  # no device tree
        return ""
    return next((unprotected(_CHIPS[name]) for name in names if name in _CHIPS), "")
