"""Machines on which the normal world can reach into the TEE's memory: nothing is secret there."""

from __future__ import annotations

from pathlib import Path

_COMPATIBLE = Path("/proc/device-tree/compatible")
_PI3 = (
    "On the Raspberry Pi 3 nothing protects OP-TEE's memory from the normal world: Linux can read and change "
    "models, weights and keys in it. Use it to develop and to measure, not to keep secrets."
)


def unprotected(machine: str) -> str:
    """What a user must know about a machine on which the TEE keeps no secret; "" for all others.

    Args:
        machine: its name in image.json

    """
    return _PI3 if machine == "rpi3" else ""


def unprotected_here(compatible: Path = _COMPATIBLE) -> str:
    """The same about the machine that this program runs on.

    Args:
        compatible: the device tree's names for it, each with a zero byte at its end

    """
    try:
        names = compatible.read_bytes().split(b"\0")
    except OSError:  # no device tree
        return ""
    return _PI3 if b"brcm,bcm2837" in names else ""
