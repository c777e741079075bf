# SPDX-License-Identifier: Apache-2.0
"""The feed of Debian's security tracker: for each source package, its CVEs and where they are fixed.

It is one JSON document, {source: {CVE: {"releases": {release: {"status", "fixed_version", "urgency", ...}}}}}.
https://security-tracker.debian.org/tracker/data/json
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tzml.errors import TzmlError
from tzml.vulnerabilities.feed import Finding, damaged
from tzml.vulnerabilities.inventory import Part
from tzml.vulnerabilities.versions import compare_debian

_NEVER = "0"  # the fixed version of a release that never had it


def is_tracker(document: Any) -> bool:
    """Whether this may be the tracker's document."""
    cves = document.values() if isinstance(document, dict) else ()
    return any(
        isinstance(about, dict) and "releases" in about
        for entries in cves if isinstance(entries, dict)
        for about in entries.values()
    )  # fmt: skip


def covers(part: Part) -> bool:
    """Whether the tracker would know the part."""
    return bool(part.source)


def find(path: Path, document: dict[str, Any], parts: Iterable[Part]) -> list[Finding]:
    """Findings for the parts that are Debian's. Raises TzmlError, also if the feed lacks a release of theirs."""
    ours = [part for part in parts if covers(part)]
    known = {
        release
        for cves in document.values() if isinstance(cves, dict)
        for about in cves.values() if isinstance(about, dict)
        for release in about.get("releases", ())
    }  # fmt: skip
    if missing := sorted({part.release for part in ours} - known):
        raise TzmlError(
            f"{path} says nothing about Debian {', '.join(missing)}, which the image has packages of; "
            f"it knows {', '.join(sorted(known)) or 'no release'}",
            "give a newer or complete file",
        )
    return [finding for part in ours for finding in _of_part(path, document.get(part.source, {}), part)]


def _of_part(path: Path, cves: Any, part: Part) -> list[Finding]:
    if not isinstance(cves, dict):
        raise damaged(path, part.source, "expected an object with the CVEs")
    found = []
    for cve, about in cves.items():
        releases = about.get("releases") if isinstance(about, dict) else None
        if not isinstance(releases, dict):
            raise damaged(path, f"{part.source}, {cve}", "expected an object `releases`")
        if part.release not in releases:
            continue  # the release does not have this source package in that state: nothing is said of it
        entry = releases[part.release]
        status = entry.get("status") if isinstance(entry, dict) else None
        fixed = entry.get("fixed_version") or "" if isinstance(entry, dict) else ""
        urgency = entry.get("urgency") or "" if isinstance(entry, dict) else ""
        if status == "resolved":
            if not fixed:
                raise damaged(path, f"{part.source}, {cve}, {part.release}", "resolved, but without fixed_version")
            if fixed == _NEVER or compare_debian(part.source_version, fixed) >= 0:
                continue
            found.append(Finding(cve, part, urgency, fixed))
        elif status == "open":
            found.append(Finding(cve, part, urgency))
        elif status == "undetermined":
            found.append(Finding(cve, part, urgency, unclear="Debian has not determined it"))
        else:
            raise damaged(path, f"{part.source}, {cve}, {part.release}", f"the status {status!r} is unknown")
    return found
