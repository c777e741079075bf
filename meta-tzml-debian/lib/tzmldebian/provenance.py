# SPDX-License-Identifier: Apache-2.0
"""Of which of Debian's source packages something is, and under which licences: what trackers and SBOMs want."""

from __future__ import annotations

import re
from pathlib import Path

from . import host

# the names of releases in the origins that apt prints
RELEASES = {"12": "bookworm", "13": "trixie", "14": "forky", "testing": "forky", "unstable": "sid"}
COPYRIGHT_FORMAT = re.compile(r"^Format(-Specification)?:\s*\S*copyright-format", re.MULTILINE)
SOURCE = re.compile(r"(?P<name>\S+)(?: \((?P<version>[^)]+)\))?")


def source_of(path: Path) -> dict[str, str]:
    """Name and version of the source package of a .deb, or of a .dsc. A file's name has no epoch, its fields do."""
    return source_in(fields_of(path))


def fields_of(path: Path) -> dict[str, str]:
    """Package, Source and Version of a .deb or a .dsc, as far as it has them."""
    if path.suffix == ".dsc":
        text = path.read_text(errors="replace")
    else:
        text = host.run(["dpkg-deb", "--field", str(path), "Package", "Source", "Version"])
    return fields_in(text)


def fields_in(text: str) -> dict[str, str]:
    """Likewise, in the text of a control file."""
    return dict(re.findall(r"^(Package|Source|Version): (\S.*?)\s*$", text, re.MULTILINE))


def source_in(fields: dict[str, str]) -> dict[str, str]:
    """Likewise, from the fields of a control file: a source of the same name and version is not repeated there."""
    found = SOURCE.fullmatch(fields.get("Source") or fields["Package"])
    if not found:
        raise ValueError(f"Source: {fields['Source']!r} is no name with a version")
    return {"name": found["name"], "version": found["version"] or fields["Version"]}


def release_of(origin: str) -> str:
    """The release in an origin: apt's ("Debian:13.8/stable"), or one of our records' ("Debian trixie/sid").

    Of a record with two suites, the packages that it names are from the second.
    """
    label, _, rest = origin.partition(" ")
    if rest:
        return rest.split()[0].rpartition("/")[2]
    number = label.partition(":")[2].partition("/")[0].partition(".")[0]
    return RELEASES.get(number, number)


def licences_of(root: Path, package: str) -> list[str]:
    """The licences that an installed package's copyright file names, as Debian writes them.

    Empty if the file is not of the form for programs (copyright-format 1.0), or leads out of the file system.
    """
    path = root / "usr/share/doc" / package / "copyright"
    if not path.is_file() or not path.resolve().is_relative_to(root.resolve()):
        return []
    text = path.read_text(errors="replace")
    if not COPYRIGHT_FORMAT.search(text):
        return []
    return sorted(set(re.findall(r"^License:[ \t]*(\S.*?)\s*$", text, re.MULTILINE)))
