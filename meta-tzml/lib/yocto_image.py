# SPDX-License-Identifier: Apache-2.0
"""The deploy folder of a Yocto image as the lab takes it: image.json, and links to the files that it names.

usage: yocto_image.py FACTS FOLDER

FACTS is a JSON file of tzml-image-json.bbclass, FOLDER the folder to write. The project's environment runs this.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "meta-tzml-debian/engine/lib"), str(ROOT / "meta-tzml-debian/lib")]

from tzmldebian import measure, optee  # noqa: E402

SCHEMA = ROOT / "docs/image.schema.json"
LOGIN = {"user": "root", "password": None, "ssh_user": "root", "ssh_key_role": "ssh-key"}


class ImageJsonError(Exception):
    """The build did not make what the image needs; the message says what."""


def packages(manifest: Path) -> list[dict[str, Any]]:
    """The packages in an image's manifest, which has a line for each: name, architecture, version."""
    found = []
    for number, line in enumerate(manifest.read_text().splitlines(), 1):
        words = line.split()
        if len(words) != 3:
            raise ImageJsonError(
                f"{manifest}, line {number}: expected name, architecture and version, found {line!r}"
            )
        found.append({"name": words[0], "version": words[2], "origin": "OE-core"})
    return sorted(found, key=lambda package: package["name"])


def emulator(facts: dict[str, str]) -> dict[str, Any]:
    """QEMU's machine, from the variables of the class qemuboot."""
    value = {name: facts[f"QB_{name}"].split()[1].split(",netdev=")[0] for name in ("MACHINE", "CPU", "SMP", "MEM")}
    return {
        "program": facts["QB_SYSTEM_NAME"],
        "machine": value["MACHINE"],
        "cpu": value["CPU"],
        "cpus": int(value["SMP"]),
        "memory_mib": int(value["MEM"]),
        "network_device": facts["QB_NETWORK_DEVICE"].split()[1].partition(",")[0],
        "disk_interface": "virtio",
        "disk_format": "raw",
    }


def entry(role: str, path: Path) -> dict[str, Any]:
    """A file in the folder, as image.json has it."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"role": role, "path": path.name, "size": path.stat().st_size, "sha256": digest}


def place(role: str, source: Path, folder: Path) -> dict[str, Any]:
    """Link a file of the build into the folder, and describe it."""
    if not source.is_file():
        raise ImageJsonError(f"there is no {source}, which should become the image's {role}")
    target = folder / re.sub(r"[^A-Za-z0-9._+-]", "_", source.name)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system
        shutil.copyfile(source, target)
    return entry(role, target)


def describe(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Fill the folder, and return what image.json says. Raises ImageJsonError."""
    files = [place(role, Path(path), folder) for role, path in sorted(facts["files"].items())]
    listed = folder / "packages.json"
    listed.write_text(json.dumps({"packages": packages(Path(facts["manifest"]))}, indent=1) + "\n")
    files.append(entry("package-list", listed))
    settings, tee_elf = optee.settings(Path(facts["optee_settings"])), Path(facts["files"]["tee-elf"])
    device, baud = facts["SERIAL_CONSOLES"].split()[0].split(";")[::-1]
    hostname = facts["hostname"]
    return {
        "format": 1,
        "machine": facts["TZML_TARGET"],
        "feed": "yocto",
        "image": facts["PN"],
        "files": sorted(files, key=lambda file: file["role"]),
        "kernel_arguments": f"console={device},{baud} root=/dev/vda rw loglevel=4",
        "kernel_release": Path(facts["kernel_release"]).read_text().strip(),
        "consoles": [
            {"world": "normal", "port": 0, "baud": int(baud), "device": device},
            {"world": "secure", "port": 1, "baud": int(baud)},
        ],
        "login": LOGIN | {"login_prompt": f"{hostname} login: ", "prompt": f"root@{hostname}:~# "},
        "features": facts["features"],
        "emulator": emulator(facts),
        "components": [{**component, "origin": "OE-core or meta-arm"} for component in facts["components"]],
        "entropy": optee.entropy(settings),
        "huk": optee.huk(settings),
        "storage_counter": optee.storage_counter(settings),
        "secure_memory": {
            **optee.memory(settings, tee_elf),
            "protected": facts["SECURE_MEMORY_PROTECTED"] == "1",
        },
        "shared_memory": optee.shared_memory(settings),
        "measurements": {
            "core": measure.core(tee_elf),
            "ta": measure.ta(optee.SignedTa.read(Path(facts["ta"])).elf),
        },
        "optee_settings": {name: value for name, value in sorted(settings.items()) if name.startswith("CFG_")},
    }


def write(facts: dict[str, Any], folder: Path) -> None:
    """Write image.json last: without it, there is no image. Raises ImageJsonError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "image.json"
    path.unlink(missing_ok=True)
    description = describe(facts, folder)
    try:
        jsonschema.validate(description, json.loads(SCHEMA.read_text()))
    except jsonschema.ValidationError as error:
        raise ImageJsonError(f"{error.json_path}: {error.message}: {__file__} or {SCHEMA} is wrong") from error
    new = folder / ".image.json.new"
    new.write_text(json.dumps(description, indent=1) + "\n")
    new.replace(path)


def main() -> None:
    try:
        write(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
    except (ImageJsonError, OSError) as error:
        sys.exit(f"image.json: {error}")


if __name__ == "__main__":
    main()
