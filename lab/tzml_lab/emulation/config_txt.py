"""Read a Raspberry Pi's config.txt, as far as an emulated VideoCore can follow it.

The real VideoCore ignores unknown settings, so a misspelt one goes unnoticed. Here it is an error.
https://www.raspberrypi.com/documentation/computers/config_txt.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tzml.errors import TzmlError

# Filters that apply to a Pi 3 Model B, and those that do not
_FITTING = ("all", "pi3")
_OTHERS = ("none", "pi0", "pi0w", "pi02", "pi1", "pi2", "pi3+", "pi4", "pi400", "pi5", "cm4", "cm5")
# Settings that make no difference in an emulator
_HARMLESS = ("avoid_warnings", "boot_delay", "disable_overscan", "disable_splash", "hdmi_safe", "uart_2ndstage")


@dataclass
class VideoCoreConfig:
    """The settings in config.txt, with the VideoCore's own defaults. Addresses are as the Arm cores see them."""

    arm_64bit: bool = False
    armstub: str = ""
    cmdline: str = "cmdline.txt"
    device_tree: str = ""
    device_tree_address: int | None = None
    dtoverlay: list[str] = field(default_factory=list)
    enable_uart: bool = False
    gpu_mem: int = 76
    initramfs: tuple[str, int] | None = None
    kernel: str = "kernel8.img"
    kernel_address: int = 0x80000
    overlay_prefix: str = "overlays/"
    upstream_kernel: bool = False

    @property
    def tree(self) -> str:
        """The name of the Pi 3 Model B's device tree, which depends on the kernel."""
        return self.device_tree or f"bcm{'2837' if self.upstream_kernel else '2710'}-rpi-3-b.dtb"


_NUMBERS = ("device_tree_address", "gpu_mem", "kernel_address")
_SWITCHES = ("arm_64bit", "enable_uart", "upstream_kernel")
_NAMES = ("armstub", "cmdline", "device_tree", "kernel", "overlay_prefix")


def parse(text: str) -> VideoCoreConfig:
    """Read config.txt. Raises TzmlError with the number of the line that cannot be followed."""
    config = VideoCoreConfig()
    reading = True
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        try:
            if found := re.fullmatch(r"\[(.+)\]", line):
                reading = _filter(found[1])
            elif reading:
                _apply(config, line)
        except ValueError as error:
            raise TzmlError(
                f"config.txt, line {number}: {error}",
                "correct it, or teach lab/tzml_lab/emulation/config_txt.py what the VideoCore does with it",
            ) from error
    return config


def _filter(name: str) -> bool:
    if name.lower() not in _FITTING + _OTHERS:
        raise ValueError(f"unknown filter [{name}]; known: {', '.join(_FITTING + _OTHERS)}")
    return name.lower() in _FITTING


def _apply(config: VideoCoreConfig, line: str) -> None:
    if found := re.fullmatch(r"initramfs\s+(\S+)\s+(\S+)", line):
        config.initramfs = found[1], _number("initramfs", found[2])
        return
    key, equals, value = (part.strip() for part in line.partition("="))
    if not equals:
        raise ValueError(f"{line!r} is not of the form name=value")
    if key in _HARMLESS:
        return
    if key in _NUMBERS:
        setattr(config, key, _number(key, value))
    elif key in _SWITCHES:
        if value not in ("0", "1"):
            raise ValueError(f"{key} is {value!r}; it must be 0 or 1")
        setattr(config, key, value == "1")
    elif key in _NAMES:
        setattr(config, key, value)
    elif key == "dtoverlay":
        if "," in value:
            raise ValueError(f"dtoverlay={value}: parameters of overlays cannot be emulated")
        config.dtoverlay += [value] if value else []
    else:
        raise ValueError(f"unknown setting {key}")


def _number(key: str, value: str) -> int:
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError(f"{key} is {value!r}; it must be a number such as 64 or 0x02000000") from None
