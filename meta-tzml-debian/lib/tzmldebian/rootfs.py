# SPDX-License-Identifier: Apache-2.0
"""Root file systems: Debian from the archive (cached), and the product's packages on top.

Both run as root, or as root of a user namespace (FAKEROOTCMD).
"""

from __future__ import annotations

import email
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import bb

from . import apt, fetch, host, tree

# Debian's arm64 packages sign return addresses, which QEMU computes in software for its default CPU: without
# the feature everything that runs under emulation takes a fifth of the time.
QEMU_CPU = "cortex-a57"
DPKG_OPTIONS = (
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
    "path-include=/usr/share/doc/*/copyright",
)
SECONDS_BETWEEN_REPORTS = 10


def bootstrap(d: Any) -> None:
    """do_bootstrap of debian-rootfs."""
    (record,) = fetch.records(d)
    packages = {file.package: file for file in record.files}
    base, listing = Path(d.getVar("ROOTFS_BASE")), Path(d.getVar("ROOTFS_BASE_PACKAGES"))
    cached = Path(d.getVar("ROOTFS_CACHE_DIR"), f"{_key(d, record)}.tar.zst")
    base.parent.mkdir(parents=True, exist_ok=True)
    cached.parent.mkdir(parents=True, exist_ok=True)
    if cached.exists():
        bb.note(f"taking the root file system from {cached}")
        os.utime(cached)
    else:
        with tree.written_atomically(cached) as archive:
            _mmdebstrap(d, archive)
    tree.link_or_copy(cached, base)
    content = {
        "mirror": record.mirror,
        "packages": [
            {"name": name, "version": file.version, "origin": record.origins.get(name, "")}
            for name, file in sorted(packages.items())
        ],
    }
    tree.write_atomically(listing, json.dumps(content, indent=1) + "\n")


def _key(d: Any, record: fetch.Record) -> str:
    """What the root file system is made of: exact packages, and what is done with them."""
    digest = hashlib.sha256()
    for file in sorted(record.files, key=lambda file: file.name):
        digest.update(f"{file.name} {file.sha256}\n".encode())
    for path in (Path(__file__), *(Path(d.getVar("UNPACKDIR"), hook) for hook in ("customize", "setup"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _mmdebstrap(d: Any, archive: Path) -> None:
    host.check_foreign_execution(d)
    build, sources = Path(d.getVar("B")), Path(d.getVar("UNPACKDIR"))
    debs = sources / "debs"
    _repository(debs)
    (record,) = fetch.records(d)
    tarball = build / "rootfs.tar"
    command = ["mmdebstrap", "--mode=root", "--variant=custom", "--format=tar"]
    command += [f"--architectures={d.getVar('DEB_HOST_ARCH')}"]
    # check/qemu wants a further package (arch-test) for what host.check_foreign_execution() has checked
    command += ["--skip=check/qemu,check/signed-by,download/empty"]
    command += [f"--dpkgopt={option}" for option in (*DPKG_OPTIONS, "force-unsafe-io")]
    command += [f"--setup-hook={sources}/setup", f"--customize-hook={sources}/customize"]
    command += [f"--include={','.join(sorted(file.package for file in record.files))}"]
    command += [d.getVar("DEBIAN_SUITE"), str(tarball), f"deb [trusted=yes] copy://{debs} ./"]
    env = {
        "DEBIAN_FRONTEND": "noninteractive",
        "HOME": str(build),
        "LC_ALL": "C.UTF-8",
        # in the root, where the host's commands do not exist, package scripts find the stubs first
        "PATH": f"/tzml-stubs:{host.SYSTEM_PATH}",
        "QEMU_CPU": QEMU_CPU,
        "SOURCE_DATE_EPOCH": d.getVar("SOURCE_DATE_EPOCH"),
        "TMPDIR": str(build),
    }
    bb.note(" ".join(command))
    _run_with_progress(command, env, total=2 * len(record.files))
    host.run(["zstd", "-q", "-3", "-T0", "-f", "--rm", str(tarball), "-o", str(archive)])


def _repository(debs: Path) -> None:
    """An index, so that apt takes the folder for an archive."""
    index = host.run(["dpkg-scanpackages", "--multiversion", "."], cwd=debs)
    debs.joinpath("Packages").write_text(index)


def _run_with_progress(command: list[str], env: dict[str, str], total: int) -> None:
    """Run mmdebstrap; its output goes to the log, its pace to the user interface."""
    done = 0
    errors = []
    with subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if line.startswith("E: "):
                errors.append(line.strip())
            if line.startswith(("Unpacking ", "Setting up ")):
                done += 1
                bb.event.fire(bb.build.TaskProgress(min(100, 100 * done // total)), None)
    if process.returncode:
        bb.fatal(f"mmdebstrap failed: {errors[0] if errors else process.returncode}")


# -- Images ---------------------------------------------------------------------------------------------


def assemble(d: Any) -> None:
    """do_rootfs of an image: Debian, and IMAGE_INSTALL with what it needs of this build's packages."""
    root = Path(d.getVar("IMAGE_ROOTFS"))
    host.run(["tar", "--zstd", "-xf", d.getVar("ROOTFS_BASE"), "-C", str(root), "--numeric-owner"])
    base = json.loads(Path(d.getVar("ROOTFS_BASE_PACKAGES")).read_text())
    ours = _our_packages(d)
    wanted = _closure(d, ours, {package["name"] for package in base["packages"]})
    _install(root, d.getVar("DEB_HOST_ARCH"), [ours[name].path for name in wanted])
    _write_sources(root, base["mirror"], d.getVar("DEBIAN_SUITE"))
    installed = [
        *base["packages"],
        *({"name": n, "version": ours[n].version, "origin": "this repository"} for n in wanted),
    ]
    listing = {"packages": sorted(installed, key=lambda package: package["name"])}
    tree.write_atomically(Path(d.getVar("IMAGE_PACKAGE_LIST")), json.dumps(listing, indent=1) + "\n")


class Deb:
    """A package of this build."""

    def __init__(self, path: Path) -> None:
        self.path = path
        fields = email.message_from_string(host.run(["dpkg-deb", "--field", str(path)]))
        self.name, self.version = fields["Package"], fields["Version"]
        self.provides = _names(fields["Provides"])
        self.depends = _names(fields["Depends"])


def _names(relation: str | None) -> list[str]:
    """Package names of a relation field; of alternatives the first."""
    return [part.split("|")[0].split("(")[0].strip() for part in (relation or "").split(",") if part.strip()]


def _our_packages(d: Any) -> dict[str, Deb]:
    """All packages that recipes this image depends on have made."""
    recipes = {recipe for recipe, task, *_ in d.getVar("BB_TASKDEPDATA", False).values() if task == "do_package_write_deb"}
    paths = [
        path
        for arch in (d.getVar("MACHINE_ARCH"), d.getVar("TUNE_PKGARCH"), "all")
        for recipe in recipes
        for path in Path(d.getVar("DEPLOY_DIR_DEB"), arch, recipe).glob("*.deb")
    ]
    return {deb.name: deb for deb in map(Deb, sorted(paths))}


def _closure(d: Any, ours: dict[str, Deb], debian: set[str]) -> list[str]:
    """IMAGE_INSTALL and what it depends on, in the order of dependence."""
    providers = {name: deb.name for deb in ours.values() for name in (*deb.provides, deb.name)}
    order: list[str] = []
    seen: set[str] = set()

    def visit(name: str, because: str) -> None:
        if name in seen or name in debian:
            return
        seen.add(name)
        if name not in providers:
            bb.fatal(
                f"{because} needs {name}, which no recipe makes and Debian's root file system does not have: "
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
    """Install with the host's dpkg, for which the target's packages are of a foreign architecture.

    That spares emulation; dependencies are checked above, and our packages have no scripts.
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
    """On the target, apt uses the mirror that the image was made from."""
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
    """do_image: the disk. Sparse, with room to work in, and the same bytes for the same tree."""
    root, image = Path(d.getVar("IMAGE_ROOTFS")), Path(d.getVar("IMAGE_EXT4"))
    used = int(host.run(["du", "--summarize", "--block-size=1K", str(root)]).split()[0])
    size = int(used * float(d.getVar("IMAGE_OVERHEAD_FACTOR"))) + int(d.getVar("IMAGE_ROOTFS_EXTRA_SPACE"))
    uuid = d.getVar("IMAGE_UUID")
    options = f"hash_seed={uuid},lazy_itable_init=1,nodiscard"
    image.unlink(missing_ok=True)
    with image.open("wb") as stream:
        stream.truncate(-(-size // 4096) * 4096 * 1024)
    host.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "tzml-root", "-U", uuid]
        + ["-E", options, "-d", str(root), str(image)],
        env={**os.environ, "E2FSPROGS_FAKE_TIME": d.getVar("SOURCE_DATE_EPOCH")},
    )
    shutil.rmtree(root)
    bb.note(f"{image.name}: {used // 1024} MiB used of {image.stat().st_size // 2**20} MiB")
