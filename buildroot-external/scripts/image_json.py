# SPDX-License-Identifier: Apache-2.0
"""The deploy folder of a Buildroot image: its root file system, with the firmware and kernel of the Debian feed.

usage: image_json.py IMAGES MACHINE DEBIAN DEPLOY
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
TAKEN = ("firmware", "kernel", "ta-dev-kit", "ta-signing-public-key", "tee-elf")
LOGIN = {
    "user": "root", "login_prompt": "tzml login: ", "prompt": "root@tzml:~# ", "password": None,
    "ssh_user": None, "ssh_key_role": None,
}  # fmt: skip
FEATURES = {"init": "busybox", "package_manager": None, "python": False, "ssh": False, "xtest": False}


def entry(role: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"role": role, "path": path.name, "size": path.stat().st_size, "sha256": digest}


def components(config: str, build: Path) -> list[dict[str, str]]:
    """The packages of the target, as their build folders are named: name-version."""
    found = []
    for folder in sorted(build.iterdir()):
        match = re.fullmatch(r"(?!host-|buildroot-)([a-z0-9-]+?)-(\d\S*)", folder.name)
        if match and (folder / ".stamp_target_installed").exists():
            origin = "this repository" if match[1].startswith("tzml-") else "Buildroot"
            if match[1] == "tzml-tee-client":
                origin = "Debian"
            found.append({"name": match[1], "version": match[2], "origin": origin})
    return found


def main() -> None:
    images, machine, debian, deploy = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    base = json.loads((debian / "image.json").read_text())
    # written last: without it, there is no image
    deploy.mkdir(parents=True, exist_ok=True)
    (deploy / "image.json").unlink(missing_ok=True)
    files = []
    for file in base["files"]:
        if file["role"] in TAKEN:
            shutil.copy(debian / file["path"], deploy)
            files.append(entry(file["role"], deploy / file["path"]))
    shutil.copy(images / "rootfs.cpio", deploy)
    files.append(entry("initrd", deploy / "rootfs.cpio"))
    config = Path(os.environ["BR2_CONFIG"])
    taken = [c for c in base["components"] if c["name"] in ("linux", "optee-os", "trusted-firmware-a", "u-boot")]
    console = base["consoles"][0]
    description = {
        "format": base["format"],
        "machine": machine,
        "feed": "buildroot",
        "image": f"tzml_{machine}_defconfig",
        "files": sorted(files, key=lambda file: file["role"]),
        "kernel_arguments": f"console={console['device']},{console['baud']} loglevel=4",
        "consoles": base["consoles"],
        "login": LOGIN,
        "features": FEATURES,
        "emulator": base["emulator"],
        "components": [*taken, *components(config.read_text(), Path(os.environ["BUILD_DIR"]))],
        **{k: base[k] for k in ("kernel_release", "secure_memory", "shared_memory", "optee_settings") if k in base},
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
