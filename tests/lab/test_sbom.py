"""tools/sbom lists all that image.json and the package list say, and nothing secret."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tzml_lab.environment import ROOT


def sbom(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools/sbom"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_everything_is_in_it_once_and_refers_to_what_is_there(deploy: Path, edit: Callable[..., None]) -> None:
    data = json.dumps({"packages": [{"name": "libc++1", "version": "1:2.0~rc1", "origin": "Debian:13/stable"}]})
    (deploy / "packages.json").write_text(data)
    digest = hashlib.sha256(data.encode()).hexdigest()
    files = json.loads((deploy / "image.json").read_text())["files"]
    edit(files=[*files, {"role": "package-list", "path": "packages.json", "size": len(data), "sha256": digest}])
    done = sbom(deploy)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["spdxVersion"] == "SPDX-2.3"
    names = {package["name"] for package in found["packages"]}
    assert names >= {"libc++1", "optee-os", "xtest"}
    [package] = [package for package in found["packages"] if package["name"] == "libc++1"]
    assert package["externalRefs"][0]["referenceLocator"] == "pkg:deb/debian/libc%2B%2B1@1%3A2.0~rc1?arch=arm64"
    assert {file["fileName"] for file in found["files"]} >= {"./firmware.bin", "./packages.json"}
    assert "ssh_ed25519" not in done.stdout
    checksums = {
        file["fileName"]: {c["algorithm"]: c["checksumValue"] for c in file["checksums"]} for file in found["files"]
    }
    assert checksums["./packages.json"] == {"SHA1": hashlib.sha1(data.encode()).hexdigest(), "SHA256": digest}
    identifiers = [entry["SPDXID"] for entry in (*found["packages"], *found["files"])]
    assert len(identifiers) == len(set(identifiers))
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name) for name in identifiers)
    related = {relationship["relatedSpdxElement"] for relationship in found["relationships"]}
    assert related == set(identifiers)


def test_a_component_has_what_its_feed_says_of_it(deploy: Path, edit: Callable[..., None]) -> None:
    source = {"name": "arm-trusted-firmware", "version": "2.12.1+dfsg-1", "release": "trixie"}
    debian = {"name": "trusted-firmware-a", "version": "2.12.1", "origin": "Debian trixie", "sources": [source]}
    made = {"name": "busybox", "version": "1.38.0", "origin": "Buildroot", "cpes": ["busybox:busybox"]}
    edit(components=[debian, made | {"licence": "GPL-2.0, bzip2-1.0.4"}])
    done = sbom(deploy)
    assert done.returncode == 0, done.stderr
    found = {package["name"]: package for package in json.loads(done.stdout)["packages"]}
    [link] = found["trusted-firmware-a"]["externalRefs"]
    assert link["referenceLocator"] == "pkg:deb/debian/arm-trusted-firmware@2.12.1%2Bdfsg-1?arch=source"
    [link] = found["busybox"]["externalRefs"]
    assert link["referenceLocator"] == "cpe:2.3:*:busybox:busybox:1.38.0:*:*:*:*:*:*:*"
    assert found["busybox"]["licenseDeclared"] == "GPL-2.0-only AND LicenseRef-bzip2-1.0.4"
    [unlisted] = json.loads(done.stdout)["hasExtractedLicensingInfos"]
    assert (unlisted["licenseId"], unlisted["name"]) == ("LicenseRef-bzip2-1.0.4", "bzip2-1.0.4")


def test_what_is_not_as_spdx_wants_is_not_printed(deploy: Path, edit: Callable[..., None]) -> None:
    edit(components=[{"name": "busybox", "version": "1.38 0", "origin": "Buildroot", "cpes": ["busybox"]}])
    done = sbom(deploy)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"sbom: the bill of materials is not as sbom.schema.json wants: \$\.packages.*\n", done.stderr
    )


def test_a_folder_without_an_image_is_one_line(tmp_path: Path) -> None:
    done = sbom(tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"sbom: there is no image in .*\n", done.stderr)
