# SPDX-License-Identifier: Apache-2.0
"""A root file system and its disk: Debian, with this build's packages on top.

The code runs as root, or as root of a user namespace (FAKEROOTCMD). It runs no code of the target.
"""

from __future__ import annotations

import email
import json
import os
import shutil
from pathlib import Path
from typing import Any

import bb

from . import host, provenance, tree


def assemble(d: Any) -> None:
    """do_rootfs of an image: Debian, IMAGE_INSTALL, and the packages of this build that IMAGE_INSTALL needs."""
    root = Path(d.getVar("IMAGE_ROOTFS"))
    # The kernel fills /dev, and root of a user namespace cannot create devices.
    host.run(
        ["tar", "--zstd", "-xf", d.getVar("ROOTFS_BASE"), "-C", str(root), "--numeric-owner", "--exclude=./dev/*"]
    )
    base = json.loads(Path(d.getVar("ROOTFS_BASE_PACKAGES")).read_text())
    ours = _our_packages(d)
    wanted = _closure(d, ours, {package["name"] for package in base["packages"]})
    _install(root, d.getVar("DEB_HOST_ARCH"), [ours[name].path for name in wanted])
    _write_sources(root, base["mirror"], d.getVar("DEBIAN_SUITE"))
    sources = _sources(root)
    installed = [
        *(_explained(root, sources, package) for package in base["packages"]),
        *({"name": n, "version": ours[n].version, "origin": "this repository"} for n in wanted),
    ]
    listing = {"packages": sorted(installed, key=lambda package: package["name"])}
    tree.write_atomically(Path(d.getVar("IMAGE_PACKAGE_LIST")), json.dumps(listing, indent=1) + "\n")


def _sources(root: Path) -> dict[str, dict[str, str]]:
    """The source package of each installed package, from dpkg's own list."""
    found = {}
    for paragraph in root.joinpath("var/lib/dpkg/status").read_text().split("\n\n"):
        if fields := provenance.fields_in(paragraph):
            found[fields["Package"]] = provenance.source_in(fields)
    return found


def _explained(root: Path, sources: dict[str, dict[str, str]], package: dict[str, str]) -> dict[str, Any]:
    """A package of the list, with its source package and licences."""
    name = package["name"]
    if name not in sources:
        bb.fatal(f"{name} is in the package list, but not in dpkg's list of the root file system")
    source = {**sources[name], "release": provenance.release_of(package["origin"])}
    return {**package, "sources": [source], "licences": provenance.licences_of(root, name)}


class Deb:
    """A package of this build."""

    def __init__(self, path: Path) -> None:
        self.path = path
        fields = email.message_from_string(host.run(["dpkg-deb", "--field", str(path)]))
        self.name, self.version = fields["Package"], fields["Version"]
        self.provides = _names(fields["Provides"])
        self.depends = _names(fields["Depends"])


def _names(relation: str | None) -> list[str]:
    """The package names in a relation field. Of alternatives, the first counts."""
    return [part.split("|")[0].split("(")[0].strip() for part in (relation or "").split(",") if part.strip()]


def _our_packages(d: Any) -> dict[str, Deb]:
    """All packages made by recipes on which this image depends."""
    recipes = {
        recipe for recipe, task, *_ in d.getVar("BB_TASKDEPDATA", False).values() if task == "do_package_write_deb"
    }
    paths = [
        path
        for arch in (d.getVar("MACHINE_ARCH"), d.getVar("TUNE_PKGARCH"), "all")
        for recipe in recipes
        for path in Path(d.getVar("DEPLOY_DIR_DEB"), arch, recipe).glob("*.deb")
    ]
    return {deb.name: deb for deb in map(Deb, sorted(paths))}


def _closure(d: Any, ours: dict[str, Deb], debian: set[str]) -> list[str]:
    """IMAGE_INSTALL and its dependencies, with dependencies first."""
    providers = {name: deb.name for deb in ours.values() for name in (*deb.provides, deb.name)}
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str, because: str) -> None:
        if name in seen or name in debian:
            return
        seen.add(name)
        if name not in providers:
            bb.fatal(
                f"{because} needs {name}, which no recipe provides and Debian's root file system does not contain: "
                "correct the name, or add it to DEBIAN_PACKAGES (debian-packages.inc)"
            )
        deb = ours[providers[name]]
        for needed in deb.depends:
            visit(needed, deb.name)
        if deb.name not in order:
            order.append(deb.name)

    for item in d.getVar("IMAGE_INSTALL").split():
        for name in (d.getVarFlag("DEBIAN_NAME", item) or item).split():
            visit(name, "IMAGE_INSTALL")
    return order


def _install(root: Path, architecture: str, debs: list[Path]) -> None:
    """Install with the host's dpkg, which sees the target's packages as packages of a foreign architecture.

    This avoids emulation. Dependencies are checked above, and our packages have no scripts.
    """
    if not debs:
        return
    architectures = root / "var/lib/dpkg/arch"
    before = architectures.read_text() if architectures.exists() else None
    dpkg = ["dpkg", f"--root={root}", "--force-unsafe-io"]
    env = {**os.environ, "PATH": host.SYSTEM_PATH}
    host.run([*dpkg, "--add-architecture", architecture], env=env)
    try:
        print(host.run([*dpkg, "--force-depends", "--no-triggers", "--install", *map(str, debs)], env=env))
    finally:
        architectures.unlink(missing_ok=True)
        if before is not None:
            architectures.write_text(before)


def _write_sources(root: Path, mirror: dict[str, str | None], suite: str) -> None:
    """Configure the target's apt to use the mirror from which the image was made."""
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    parts = [(mirror["main"], f"{suite} {suite}-updates"), (mirror["security"], f"{suite}-security")]
    text = "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n"
        for uri, suites in parts
        if uri
    )
    root.joinpath("etc/apt/sources.list").unlink(missing_ok=True)
    tree.write_atomically(root / "etc/apt/sources.list.d/debian.sources", text)


def make_ext4(d: Any) -> None:
    """do_image: write the disk. It is sparse and has free space; the same tree gives the same bytes."""
    root, image = Path(d.getVar("IMAGE_ROOTFS")), Path(d.getVar("IMAGE_EXT4"))
    used = int(host.run(["du", "--summarize", "--block-size=1K", str(root)]).split()[0])
    size = int(used * float(d.getVar("IMAGE_OVERHEAD_FACTOR"))) + int(d.getVar("IMAGE_ROOTFS_EXTRA_SPACE"))
    uuid = d.getVar("IMAGE_UUID")
    options = f"hash_seed={uuid},lazy_itable_init=1,nodiscard"
    image.unlink(missing_ok=True)
    with image.open("wb") as stream:
        stream.truncate(-(-size // 4096) * 4096 * 1024)
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "tzml-root", "-U", uuid]
    command += ["-E", options, "-d", str(root), str(image)]
    host.run(command, env={**os.environ, "E2FSPROGS_FAKE_TIME": d.getVar("SOURCE_DATE_EPOCH")})
    shutil.rmtree(root)
    bb.note(f"{image.name}: {used // 1024} MiB used of {image.stat().st_size // 2**20} MiB")
