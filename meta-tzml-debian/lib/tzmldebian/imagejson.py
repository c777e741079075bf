# SPDX-License-Identifier: Apache-2.0
"""The deploy folder and image.json, which describes it (docs/image.md, docs/image.schema.json)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import bb
import jsonschema

from . import fetch, tree

FORMAT = 1


def publish(d: Any) -> None:
    """After do_deploy: move DEPLOYDIR's files to DEPLOY_DIR_IMAGE, take away those of an earlier run."""
    source, target = Path(d.getVar("DEPLOYDIR")), Path(d.getVar("DEPLOY_DIR_IMAGE"))
    manifest = Path(d.getVar("DEPLOY_MANIFEST"))
    names = sorted(str(p.relative_to(source)) for p in source.rglob("*") if p.is_symlink() or not p.is_dir())
    earlier = json.loads(manifest.read_text())["names"] if manifest.exists() else []
    component = _component(d, source)
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        # moved, not linked: who boots the image writes to it
        shutil.move(source / name, place)
    for name in set(earlier) - set(names):
        target.joinpath(name).unlink(missing_ok=True)
    tree.write_atomically(manifest, json.dumps({"names": names, **component}, indent=1) + "\n")


def _component(d: Any, source: Path) -> dict[str, Any]:
    roles = {role: name for role, name in (d.getVarFlags("DEPLOY_ROLE") or {}).items() if role != "doc"}
    addresses = d.getVarFlags("DEPLOY_LOAD_ADDRESS") or {}
    files = []
    for role, name in sorted(roles.items()):
        name = d.expand(name)
        if not source.joinpath(name).exists():
            bb.fatal(f'{d.getVar("PN")}: DEPLOY_ROLE[{role}] is "{name}", which do_deploy did not make')
        entry = {"role": role, "path": name}
        if role in addresses:
            entry["load_address"] = d.expand(addresses[role])
        files.append(entry)
    version, origin = _provenance(d)
    facts = Path(d.getVar("DEPLOY_FACTS"))
    return {
        "component": d.getVar("DEPLOY_COMPONENT"),
        "version": version,
        "origin": origin,
        "files": files,
        "facts": json.loads(facts.read_text()) if facts.exists() else {},
    }


def _provenance(d: Any) -> tuple[str, str]:
    """Version and origin: what the recipe says, or what was really fetched."""
    version, origin = d.getVar("DEPLOY_VERSION"), d.getVar("DEPLOY_ORIGIN")
    records = fetch.records(d)
    if records:
        first = records[0].files[0]
        version = version or first.version
        origin = origin or f"{records[0].origins.get(first.package, 'Debian')} {first.name}"
    return version or d.getVar("PV"), origin or "this repository"
