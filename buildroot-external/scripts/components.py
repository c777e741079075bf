# SPDX-License-Identifier: Apache-2.0
"""The components of a Buildroot image, as image.json has them: what Buildroot made, and what is Debian's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tzmldebian import provenance

OURS = "this repository"
# Of this repository's packages, the one whose content is Debian's
TEE_CLIENT = "tzml-tee-client"
OPENVEX = "https://openvex.dev/ns/v0.2.0"


def of_buildroot(info: dict[str, Any]) -> list[dict[str, Any]]:
    """What Buildroot's own recipes and ours put on the target, from the output of `make show-info`."""
    found = []
    for package in _on_the_target(info):
        if package["name"] == TEE_CLIENT:
            continue
        ours = package["name"].startswith("tzml-")
        entry = {"name": package["name"], "version": package["version"], "origin": OURS if ours else "Buildroot"}
        if package.get("licenses", "unknown") != "unknown":
            entry["licence"] = package["licenses"]
        if name := package.get("cpe-id"):
            # cpe:2.3:part:vendor:product:version:...
            entry["cpes"] = [":".join(name.split(":")[3:5])]
        found.append(entry)
    return found


def of_debian(name: str, paths: list[Path], suite: str) -> dict[str, Any]:
    """A component that is made of Debian's packages."""
    sources = {(source["name"], source["version"]) for source in map(provenance.source_of, paths)}
    return {
        "name": name,
        "version": provenance.fields_of(paths[0])["Version"],
        "origin": f"Debian {suite} {paths[0].name}",
        "sources": [{"name": name, "version": version, "release": suite} for name, version in sorted(sources)],
    }


def statements(info: dict[str, Any]) -> dict[str, Any] | None:
    """What Buildroot says of CVEs that do not concern its packages (_IGNORE_CVES), as OpenVEX."""
    said = [
        {
            "vulnerability": {"name": cve},
            "products": [{"@id": f"pkg:generic/{package['name']}@{package['version']}"}],
            "status": "not_affected",
            "impact_statement": f"Buildroot mends or excludes it: {package['package_dir']} says how",
        }
        for package in _on_the_target(info)
        for cve in sorted(package.get("ignore_cves", ()))
    ]
    if not said:
        return None
    return {
        "@context": OPENVEX,
        "@id": "urn:tzml:buildroot",
        "author": "Buildroot",
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": 1,
        "statements": said,
    }


def _on_the_target(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Packages with a version that are installed on the target; skeletons and scripts have none."""
    found = (info[name] for name in sorted(info))
    return [p for p in found if p["type"] == "target" and p.get("version") and p.get("install_target")]
