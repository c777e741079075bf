# SPDX-License-Identifier: Apache-2.0
"""What an image is made of, by the names that feeds of vulnerabilities know it by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tzml.errors import TzmlError
from tzml.image import PACKAGES, load_image
from tzml.vulnerabilities.versions import upstream_of

# Vendor and product in NVD's dictionary, for components whose feed does not say it: all that meta-arm and Buildroot
# know them by.
_CPES: dict[str, tuple[str, ...]] = {
    "linux": ("linux:linux_kernel",),
    "optee-os": ("linaro:op-tee", "op-tee:op-tee_os", "trustedfirmware:op-tee"),
    "trusted-firmware-a": (
        "arm:arm-trusted-firmware",
        "arm:arm_trusted_firmware",
        "arm:trusted_firmware-a",
        "arm_trusted_firmware_project:arm_trusted_firmware",
        "trustedfirmware:trusted_firmware-a",
    ),
    "u-boot": ("denx:u-boot",),
}
# Debian signs kernels in a source package of its own, which its tracker does not know: 6.12.1+1 is of 6.12.1-1.
_SIGNED = {"linux-signed-arm64": "linux"}


@dataclass(frozen=True)
class Part:
    """A package or a component of an image, of one source.

    Args:
        name: as the image's package list or image.json has it
        version: likewise
        release: the name of Debian's release that it is from, or ""
        source: Debian's source package, or ""
        source_version: its version, or ""
        cpes: vendor and product in NVD's dictionary, joined by a colon

    """

    name: str
    version: str
    release: str = ""
    source: str = ""
    source_version: str = ""
    cpes: tuple[str, ...] = ()

    @property
    def upstream_version(self) -> str:
        """The version that upstream knows, in which NVD's ranges are."""
        return upstream_of(self.source_version) if self.source else self.version

    @property
    def purl(self) -> str:
        """The package URL."""
        if self.source:
            return f"pkg:deb/debian/{quote(self.name, safe='')}@{quote(self.version, safe='')}?arch=arm64"
        return f"pkg:generic/{quote(self.name, safe='')}@{quote(self.version, safe='')}"


def parts_of(folder: Path) -> list[Part]:
    """The parts of the image in a deploy folder that others made. Raises TzmlError."""
    image = load_image(folder)
    entries = list(json.loads((folder / "image.json").read_text())["components"])
    if image.has(PACKAGES):
        assert image.packages is not None  # reading it says what is wrong with the list
        entries += json.loads(image.path(PACKAGES).read_text())["packages"]
    unknown = [entry["name"] for entry in entries if _of_debian(entry) and "sources" not in entry]
    if unknown:
        raise TzmlError(
            f"{folder} does not say of which source package of Debian {', '.join(unknown[:3])} is",
            "build the image again: earlier versions did not write it down",
        )
    found = {part for entry in entries for part in _parts(entry)}
    return sorted(found, key=lambda part: (part.name, part.version, part.source))


def _of_debian(entry: dict[str, Any]) -> bool:
    return (entry.get("origin") or "").startswith("Debian")


def _parts(entry: dict[str, Any]) -> Iterator[Part]:
    name, version = entry["name"], entry["version"]
    cpes = tuple(entry.get("cpes", ())) or _CPES.get(name, ())
    for source in entry.get("sources", ()):
        origin, its = source["name"], source["version"]
        if origin in _SIGNED:
            origin, its = _SIGNED[origin], its.replace("+", "-", 1)
        yield Part(name, version, source["release"], origin, its, cpes)
    if "sources" not in entry and entry.get("origin") != "this repository":
        yield Part(name, version, cpes=cpes)
