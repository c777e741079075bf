# SPDX-License-Identifier: Apache-2.0
"""The deploy folder of a Buildroot image: its root file system, with the firmware and kernel of the Debian feed.

usage: image_json.py IMAGES MACHINE DEBIAN DEPLOY ABOUT

IMAGES is Buildroot's folder, DEBIAN the deploy folder of the Debian feed, DEPLOY the folder to write, and ABOUT a
file of build.py with the components and what is said of their vulnerabilities.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import jsonschema
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "meta-tzml-debian/engine/lib"), str(ROOT / "meta-tzml-debian/lib")]

import card  # noqa: E402
from tzmldebian import measure  # noqa: E402
from tzmldebian.optee import SignedTa  # noqa: E402

# from the Debian feed: files by role, components by name, and what its firmware and kernel are
TAKEN = ("firmware", "kernel", "ta-dev-kit", "ta-signing-public-key", "tee-elf")
COMPONENTS = ("linux", "optee-os", "raspi-firmware", "trusted-firmware-a", "u-boot")
FACTS = ("entropy", "huk", "kernel_release", "optee_settings", "secure_memory", "shared_memory", "storage_counter")
LOGIN = {
    "user": "root", "login_prompt": "tzml login: ", "prompt": "root@tzml:~# ", "password": None,
    "ssh_user": None, "ssh_key_role": None,
}  # fmt: skip
FEATURES = {"init": "busybox", "package_manager": None, "python": False, "ssh": False, "xtest": False}
TA = "bcfd5ae6-ea1e-4018-a5d9-7673b6e2e51f"


def entry(role: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"role": role, "path": path.name, "size": path.stat().st_size, "sha256": digest}


def kernel_arguments(base: dict[str, Any]) -> str:
    """Those of the Debian feed, but that the root file system is the initrd."""
    left = ("root=", "rootfstype=", "rw", "ro")
    return " ".join(word for word in base["kernel_arguments"].split() if not word.startswith(left))


def measured_ta(target: Path) -> str:
    """What OP-TEE's attestation measures of this build's TA."""
    return measure.ta(SignedTa.read(target / f"lib/optee_armtz/{TA}.ta").elf)


def foreign_rpaths(target: Path, host: Path) -> list[str]:
    """Programs and libraries that look for libraries below `host`, a folder of this host, as a device has none.

    Buildroot's patchelf would mend them. What build.py puts in its place does not.
    """
    found = []
    for path in (path for path in sorted(target.rglob("*")) if path.is_file() and not path.is_symlink()):
        with path.open("rb") as stream:
            if stream.read(4) != b"\x7fELF":
                continue
            dynamic = ELFFile(stream).get_section_by_name(".dynamic")
            for tag in dynamic.iter_tags() if isinstance(dynamic, DynamicSection) else ():
                if tag.entry.d_tag in ("DT_RPATH", "DT_RUNPATH"):
                    where = tag.rpath if tag.entry.d_tag == "DT_RPATH" else tag.runpath
                    found += [f"{path.relative_to(target)}: {where}"] if str(host) in where else []
    return found


def main() -> None:
    images, machine, debian, deploy, told = Path(sys.argv[1]), sys.argv[2], *map(Path, sys.argv[3:6])
    base, about = (json.loads(path.read_text()) for path in (debian / "image.json", told))
    target = Path(os.environ["TARGET_DIR"])
    if foreign := foreign_rpaths(target, target.parent):
        sys.exit(f"libraries would be looked for in folders of this host: {'; '.join(foreign)}")
    # written last: without it, there is no image
    deploy.mkdir(parents=True, exist_ok=True)
    (deploy / "image.json").unlink(missing_ok=True)
    files = []
    by_role = {file["role"]: debian / file["path"] for file in base["files"]}
    facts = {name: base[name] for name in FACTS if name in base}
    if own := about["kernel"]:
        by_role["kernel"], facts["kernel_release"] = Path(own["path"]), own["release"]
    for role in sorted(by_role.keys() & set(TAKEN)):
        shutil.copy(by_role[role], deploy)
        files.append(entry(role, deploy / by_role[role].name))
    arguments = kernel_arguments(base)
    shutil.copy(images / "rootfs.cpio", deploy)
    files.append(entry("initrd", deploy / "rootfs.cpio"))
    if "sdcard" in by_role:
        try:
            made = card.make(by_role["sdcard"], images / "rootfs.cpio", arguments, deploy / "sdcard.img")
        except card.CardError as error:
            sys.exit(f"the card cannot be made: {error}")
        files += [entry(role, path) for role, path in made.items()]
    if about["vex"]:
        (deploy / "vex.json").write_text(json.dumps(about["vex"], indent=1) + "\n")
        files.append(entry("vex", deploy / "vex.json"))
    measurements = {name: value for name, value in base.get("measurements", {}).items() if name == "core"}
    if measurements:
        measurements["ta"] = measured_ta(target)
    made = {component["name"] for component in about["components"]}
    description = {
        "format": base["format"],
        "machine": machine,
        "feed": "buildroot",
        "image": f"tzml_{machine}_defconfig",
        "files": sorted(files, key=lambda file: file["role"]),
        "kernel_arguments": arguments,
        "consoles": base["consoles"],
        "login": LOGIN,
        "features": FEATURES,
        "emulator": base["emulator"],
        "components": [
            *(c for c in base["components"] if c["name"] in COMPONENTS and c["name"] not in made),
            *about["components"],
        ],
        **facts,
        **({"measurements": measurements} if measurements else {}),
    }
    schema = ROOT / "docs/image.schema.json"
    try:
        jsonschema.validate(description, json.loads(schema.read_text()))
    except jsonschema.ValidationError as error:
        sys.exit(f"image.json: {error.json_path}: {error.message}: {__file__} or {schema} is wrong")
    new = deploy / ".image.json.new"
    new.write_text(json.dumps(description, indent=1) + "\n")
    new.replace(deploy / "image.json")


if __name__ == "__main__":
    main()
