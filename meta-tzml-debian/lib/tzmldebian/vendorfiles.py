# SPDX-License-Identifier: Apache-2.0
"""Files that the user has to supply (vendor-files.bbclass): which of them exist, and messages about the others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import bb


def git_object_id(data: bytes) -> str:
    """The object id that git gives a file with this content."""
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False).hexdigest()


def path(d: Any, name: str) -> Path | None:
    """The user's file of that name, or None if it does not exist."""
    folder = d.getVar("VENDOR_FILES_DIR")
    found = Path(folder, name) if folder else None
    return found if found and found.is_file() else None


def digests(d: Any) -> str:
    """The existing files, each with the SHA-256 of its content. Tasks that use the files depend on this text."""
    folder = d.getVar("VENDOR_FILES_DIR")
    if folder and not Path(folder).is_absolute():
        bb.fatal(f"{d.getVar('VENDOR_FILES_VARIABLE')} is {folder}: give an absolute path")
    if folder and not Path(folder).is_dir():
        bb.fatal(f"{d.getVar('VENDOR_FILES_VARIABLE')} is {folder}, which is not a folder: correct or unset it")
    found = []
    for name in d.getVar("VENDOR_FILES").split():
        if file := path(d, name):
            found.append(f"{name}:{hashlib.sha256(file.read_bytes()).hexdigest()}")
    return " ".join(found)


def missing(d: Any) -> list[dict[str, str]]:
    """The missing files, as image.json describes them."""
    return [_entry(d, name) for name in d.getVar("VENDOR_FILES").split() if not path(d, name)]


def _entry(d: Any, name: str) -> dict[str, str]:
    about = {key: d.getVarFlag(f"VENDOR_FILE_{key}", name) for key in ("FOR", "FROM", "GIT")}
    entry = {"name": name, "needed_for": about["FOR"], "published": about["FROM"]}
    return entry | ({"git_object_id": about["GIT"]} if about["GIT"] else {})


def check(d: Any, name: str) -> None:
    """Warn of a file that differs from what upstream publishes."""
    file, expected = path(d, name), d.getVarFlag("VENDOR_FILE_GIT", name)
    if file and expected and (found := git_object_id(file.read_bytes())) != expected:
        bb.warn(
            f"{file} differs from upstream's: `git hash-object` gives {found}, not {expected}; it is used anyway"
        )


def text(entries: list[dict[str, str]], variable: str) -> str:
    """The list of missing files as text."""
    lines = [f"put these files into a folder and build again with {variable}=<the folder>:"]
    for entry in entries:
        digest = entry.get("git_object_id")
        checksum = f"{digest} (`git hash-object {entry['name']}`)" if digest else "upstream publishes none"
        lines += [
            f"  {entry['name']}",
            f"    for        {entry['needed_for']}",
            f"    published  {entry['published']}",
            f"    checksum   {checksum}",
        ]
    return "\n".join(lines)


def warn(d: Any) -> None:
    """After a build, even one that had nothing to do: print the list if the image lacks something."""
    described = Path(d.getVar("DEPLOY_DIR_IMAGE"), "image.json")
    entries = json.loads(described.read_text()).get("missing", []) if described.exists() else []
    if entries:
        names = ", ".join(entry["name"] for entry in entries)
        bb.warn(f"the image is incomplete without {names}: {text(entries, d.getVar('VENDOR_FILES_VARIABLE'))}")
