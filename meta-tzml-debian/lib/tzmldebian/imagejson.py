# SPDX-License-Identifier: Apache-2.0
"""The deploy folder, and image.json, which describes it (docs/image.md, docs/image.schema.json)."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import bb
import jsonschema

from . import fetch, tree

FORMAT = 1


def login(d: Any) -> dict[str, str | None]:
    """The login, as debian-config and debian-rootfs set it up."""
    return {
        "user": "root" if d.getVar("ROOT_LOGIN_ON_CONSOLE") == "1" else None,
        "login_prompt": "tzml login: ",
        "prompt": "root@tzml:~# ",
        "password": None,
        "ssh_user": "root",
        "ssh_key_role": "ssh-key",
    }


def publish(d: Any) -> None:
    """After do_deploy: move DEPLOYDIR's files to DEPLOY_DIR_IMAGE and remove those of an earlier run."""
    source, target = Path(d.getVar("DEPLOYDIR")), Path(d.getVar("DEPLOY_DIR_IMAGE"))
    manifest = Path(d.getVar("DEPLOY_MANIFEST"))
    names = sorted(str(p.relative_to(source)) for p in source.rglob("*") if p.is_symlink() or not p.is_dir())
    earlier = json.loads(manifest.read_text())["names"] if manifest.exists() else []
    component = _component(d, source)
    for name in names:
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        # moved, not linked, because whoever boots the image may write to it
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
        if not name:  # this machine or this build has no file for the role
            continue
        if not source.joinpath(name).exists():
            bb.fatal(f'{d.getVar("PN")}: DEPLOY_ROLE[{role}] is "{name}", which do_deploy did not create')
        entry = {"role": role, "path": name}
        if address := d.expand(addresses.get(role, "")):
            entry["load_address"] = address
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
    """Version and origin, as the recipe states them or else as actually fetched."""
    version, origin = d.getVar("DEPLOY_VERSION"), d.getVar("DEPLOY_ORIGIN")
    records = fetch.records(d)
    if records:
        first = records[0].files[0]
        version = version or first.version
        origin = origin or f"{records[0].origins.get(first.package, 'Debian')} {first.name}"
    return version or d.getVar("PV"), origin or "this repository"


def write(d: Any) -> None:
    """do_image_complete: write image.json, checked against its schema."""
    directory, manifests = Path(d.getVar("DEPLOY_DIR_IMAGE")), Path(d.getVar("DEPLOY_MANIFEST")).parent
    names = [d.getVar("PN"), *d.getVar("IMAGE_COMPONENTS").split()]
    components = [json.loads(manifests.joinpath(f"{name}.json").read_text()) for name in sorted(names)]
    description = {
        "format": FORMAT,
        "machine": d.getVar("MACHINE"),
        "feed": "debian",
        "image": d.getVar("PN"),
        "files": sorted(
            (_file(directory, entry) for component in components for entry in component["files"]),
            key=lambda file: file["role"],
        ),
        "kernel_arguments": d.getVar("KERNEL_CMDLINE"),
        "consoles": _consoles(d),
        "login": login(d),
        "release": d.getVar("TZML_RELEASE") == "1",
        "features": {
            "init": "systemd",
            "package_manager": "apt",
            "python": True,
            "ssh": True,
            "xtest": any(component["component"] == "xtest" for component in components),
        },
        "emulator": _emulator(d),
        "components": [
            {"name": c["component"], "version": c["version"], "origin": c["origin"]} for c in components
        ],
    }
    measurements: dict[str, str] = {}
    for component in components:
        measurements |= component["facts"].pop("measurements", {})
        description.update(component["facts"])
    if measurements:
        description["measurements"] = measurements
    schema = Path(d.getVar("TZML_ROOT"), "docs/image.schema.json")
    try:
        jsonschema.validate(description, json.loads(schema.read_text()))
    except jsonschema.ValidationError as error:
        bb.fatal(f"image.json: {error.json_path}: {error.message}: the recipe or {schema} is wrong")
    tree.write_atomically(directory / "image.json", json.dumps(description, indent=1) + "\n")


def _file(directory: Path, entry: dict[str, str]) -> dict[str, Any]:
    path = directory / entry["path"]
    return {**entry, "size": path.stat().st_size, "sha256": tree.sha256(path)}


def _consoles(d: Any) -> list[dict[str, Any]]:
    baud, device = d.getVar("SERIAL_CONSOLES").split()[0].split(";")
    normal, secure = int(d.getVar("CONSOLE_PORT")), int(d.getVar("SECURE_CONSOLE_PORT"))
    return [
        {"world": "normal", "port": normal, "baud": int(baud), "device": device},
        {"world": "secure", "port": secure, "baud": int(baud)},
    ]


def _emulator(d: Any) -> dict[str, Any] | None:
    """The parameters of the machine for QEMU. Whoever starts it adds consoles, network and files."""
    if not d.getVar("QB_SYSTEM_NAME"):
        return None
    machine, cpu, cpus, memory, network = (
        d.getVar(name).split()[1] for name in ("QB_MACHINE", "QB_CPU", "QB_SMP", "QB_MEM", "QB_NETWORK_DEVICE")
    )
    interface, *_ = re.findall(r"\bif=(\w+)", d.getVar("QB_ROOTFS_OPT"))
    return {
        "program": d.getVar("QB_SYSTEM_NAME"),
        "machine": machine,
        "cpu": cpu,
        "cpus": int(cpus),
        "memory_mib": int(memory),
        "network_device": network,
        "disk_interface": interface,
        "disk_format": "raw",
    }
