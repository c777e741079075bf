# SPDX-License-Identifier: Apache-2.0
"""The order of versions: Debian's, and that of upstream's numbers."""

from __future__ import annotations

import re
from itertools import zip_longest

# Suffixes of what comes before the release without them; any other letters come after it.
_BEFORE_RELEASE = ("dev", "alpha", "a", "beta", "b", "pre", "preview", "rc", "cr")
_COMMIT = re.compile(r"[0-9a-f]{12,40}")


def compare_debian(one: str, other: str) -> int:
    """Negative, 0 or positive, as dpkg orders versions (deb-version(7))."""
    first, second = _debian_parts(one), _debian_parts(other)
    if first[0] != second[0]:
        return first[0] - second[0]
    return _compare_verbatim(first[1], second[1]) or _compare_verbatim(first[2], second[2])


def _debian_parts(version: str) -> tuple[int, str, str]:
    """Epoch, upstream version, revision."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "")
    return int(epoch) if epoch.isdigit() else 0, upstream, revision


def _compare_verbatim(one: str, other: str) -> int:
    """Texts and numbers by turns. In texts, `~` comes before the end, and letters before anything else."""
    pieces = zip_longest(re.findall(r"(\D*)(\d*)", one), re.findall(r"(\D*)(\d*)", other), fillvalue=("", ""))
    for (text, number), (other_text, other_number) in pieces:
        for letter, other_letter in zip_longest(text, other_text, fillvalue=""):
            if difference := _weight(letter) - _weight(other_letter):
                return difference
        if difference := int(number or 0) - int(other_number or 0):
            return difference
    return 0


def _weight(letter: str) -> int:
    if letter == "~":
        return -1
    if not letter:
        return 0
    return ord(letter) if letter.isalpha() else ord(letter) + 256


def upstream_of(version: str) -> str:
    """Upstream's version in one of Debian: without epoch, revision, and what Debian says of its repackaging."""
    upstream = _debian_parts(version)[1]
    upstream = re.sub(r"[+~.](dfsg|ds|repack|really)\S*$", "", upstream)
    return re.sub(r"~(?=(rc|alpha|beta|pre)\d)", "", upstream)


def comparable(version: str) -> bool:
    """Whether it is a number, and not the name of a commit or nothing."""
    return bool(re.search(r"\d", version)) and not _COMMIT.fullmatch(version)


def compare_upstream(one: str, other: str) -> int:
    """Negative, 0 or positive. 1.2rc1 comes before 1.2, and 1.2a and 1.2.1 after it; 1.2.0 is 1.2."""
    for first, second in zip_longest(_upstream_parts(one), _upstream_parts(other), fillvalue=(0, 0, "")):
        if first != second:
            return -1 if first < second else 1
    return 0


def _upstream_parts(version: str) -> list[tuple[int, int, str]]:
    """A key for each piece: what comes before the release, the end or 0, letters, numbers."""
    found = []
    for piece in re.findall(r"\d+|[a-z]+", version.lower().removeprefix("v")):
        if piece.isdigit():
            found.append((2, int(piece), "") if int(piece) else (0, 0, ""))
        elif piece in _BEFORE_RELEASE:
            found.append((-1, 0, f"{_BEFORE_RELEASE.index(piece):02}"))
        else:
            found.append((1, 0, piece))
    return found
