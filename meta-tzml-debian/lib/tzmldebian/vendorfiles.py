# SPDX-License-Identifier: Apache-2.0
"""Files that the user has to supply (vendor-files.bbclass): which are there, and what to say of the others."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import bb


def git_object_id(data: bytes) -> str:
    """What git calls a file with this content."""
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False).hexdigest()


def path(d: Any, name: str) -> Path | None:
    """The user's file of that name, if there is one."""
    folder = d.getVar("VENDOR_FILES_DIR")
    found = Path(folder, name) if folder else None
    return found if found and found.is_file() else None


def digests(d: Any) -> str:
    """The files that are there, each with its content's SHA-256: what tasks that use them depend on."""
    folder = d.getVar("VENDOR_FILES_DIR")
    if folder and not Path(folder).is_absolute():
        bb.fatal(f"{d.getVar('VENDOR_FILES_VARIABLE')} is {folder}: give an absolute path")
    if folder and not Path(folder).is_dir():
        bb.fatal(f"{d.getVar('VENDOR_FILES_VARIABLE')} is {folder}, which is no folder: correct or unset it")
    found = []
    for name in d.getVar("VENDOR_FILES").split():
        if file := path(d, name):
            found.append(f"{name}:{hashlib.sha256(file.read_bytes()).hexdigest()}")
    return " ".join(found)


def missing(d: Any) -> list[dict[str, str]]:
    """The files that are not there, as image.json tells of them."""
    return [_entry(d, name) for name in d.getVar("VENDOR_FILES").split() if not path(d, name)]


def _entry(d: Any, name: str) -> dict[str, str]:
    about = {key: d.getVarFlag(f"VENDOR_FILE_{key}", name) for key in ("FOR", "FROM", "GIT")}
    entry = {"name": name, "needed_for": about["FOR"], "published": about["FROM"]}
    return entry | ({"git_object_id": about["GIT"]} if about["GIT"] else {})


def check(d: Any, name: str) -> None:
    """Warn of a file that is there and not what upstream publishes."""
    file, expected = path(d, name), d.getVarFlag("VENDOR_FILE_GIT", name)
    if file and expected and (found := git_object_id(file.read_bytes())) != expected:
        bb.warn(f"{file} is not upstream's: `git hash-object` gives {found}, upstream's is {expected}; it is used")


def text(entries: list[dict[str, str]], variable: str) -> str:
    """The list for people."""
    lines = [f"put these into a folder, and build again with {variable}=<the folder>:"]
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
    """After a build: the list, if the image that was built lacks something. Also when nothing had to be built."""
    described = Path(d.getVar("DEPLOY_DIR_IMAGE"), "image.json")
    entries = json.loads(described.read_text()).get("missing", []) if described.exists() else []
    if entries:
        names = ", ".join(entry["name"] for entry in entries)
        bb.warn(f"not complete without {names}: {text(entries, d.getVar('VENDOR_FILES_VARIABLE'))}")
