# SPDX-License-Identifier: Apache-2.0
"""Debian as it comes, from the packages that were downloaded; kept in TZML_CACHE by what it is made of.

Runs as root, or as root of a user namespace (FAKEROOTCMD). A change to this file makes it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import bb

from . import fetch, host, tree

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
    # its mounts are its own: none is left behind, however it ends
    command = ["unshare", "--mount", "--", "mmdebstrap", "--mode=root", "--variant=custom", "--format=tar"]
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
