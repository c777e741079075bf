# SPDX-License-Identifier: Apache-2.0
"""What a build with Buildroot is prepared with: Debian's archive, toolchain, kernel modules, host tools."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tzmldebian import apt, tree
from tzmldebian.initramfs import module_name

EXTERNAL = Path(__file__).resolve().parents[1]

SUITE, OPTEE_SUITE = "trixie", "sid"
SOURCE_SUITES = ("trixie", "forky", "sid")
C_LIBRARY = ("libc6", "libc6-dev", "libcrypt1", "libcrypt-dev", "libgcc-s1", "linux-libc-dev")
TEE_CLIENT = ("tee-supplicant", "libteec2", "optee-client-dev")
MODULES = ("tee", "optee")

# Host tools that are not built: the folder that takes the place of their source, and the reason.
OVERRIDES = {
    "fakeroot": "Buildroot's version is in no archive any more; this host has its own",
    "acl": "only fakeroot would need it",
    "attr": "only fakeroot would need it",
    "tar": "Debian 12 has 1.34; 1.35 is for packing repositories, of which none is downloaded",
    "patchelf": "Buildroot's version, with its own patch, is not in Debian; image_json.py looks for RPATHs instead",
}

# What Buildroot asks of patchelf. RPATHs are only made relative where it says that a file has one.
PATCHELF = """#!/bin/sh
[ "$1" = --version ] && echo "none: see OVERRIDES of tools/buildroot"
"""


class BuildError(Exception):
    """The build cannot go on; the message says what to do."""


def say(text: str) -> None:
    print(f"buildroot: {text}", flush=True)


def run(command: list[str]) -> str:
    return run_bytes(command).decode()


def run_bytes(command: list[str]) -> bytes:
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed on this host: run tools/bootstrap") from error
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise BuildError(f"{' '.join(command[:3])} …: {said[-1] if said else f'exit status {done.returncode}'}")
    return done.stdout


def follow(command: list[str], log: Path, step: Callable[[str], str | None], lock: int) -> None:
    """Run a build, and print what `step` says of a line of its output. `lock`: a file that it keeps open, too.

    Whoever kills this process does not kill the build: the folder stays locked until that has ended.
    """
    start = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            pass_fds=(lock,),
        )  # fmt: skip
        assert process.stdout
        for line in process.stdout:
            stream.write(line)
            if text := step(line):
                say(f"{time.monotonic() - start:5.0f} s {text}")
    if process.wait():
        last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-5:]
        raise BuildError(f"the build failed; its log is {log}\n" + "\n".join(last))
    say(f"built in {time.monotonic() - start:.0f} s")


class Downloads:
    """Debian's archive, and the cache of all builds."""

    def __init__(self) -> None:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(os.environ.get("TZML_CACHE") or Path(caches, "tzml"))
        self.folder = cache / "downloads"
        self._mirror = apt.host_mirror()
        self._found: dict[tuple[str, str, tuple[str, ...]], list[Path]] = {}

    def archive(self, suite: str, architecture: str) -> apt.Archive:
        return apt.Archive(self.folder / "apt", self._mirror, [suite], architecture)

    def packages(self, suite: str, architecture: str, names: tuple[str, ...]) -> list[Path]:
        wanted, to = (suite, architecture, names), self.folder / "files"
        if wanted not in self._found:
            try:
                files = self.archive(suite, architecture).binaries(names, to)
            except apt.AptError as error:
                gone = re.findall(r"Unable to locate package ([^\s;]+)", str(error))
                if not gone:
                    raise
                raise BuildError(
                    f"Debian {suite} has no {', '.join(gone)} any more: take a newer commit of this repository, or "
                    f"correct the names in {Path(__file__).parent}"
                ) from error
            self._found[wanted] = [to / file.name for file in files]
        return self._found[wanted]

    def source(self, package: str, sha256: str) -> Path | None:
        """The file with that digest of the source package in any suite."""
        to = self.folder / "files"
        for suite in SOURCE_SUITES:
            try:
                files = self.archive(suite, "arm64").source(package, None, to)
            except apt.AptError:
                continue
            for file in files:
                if file.sha256 == sha256:
                    return to / file.name
        return None


def made_once(folder: Path, key: str) -> bool:
    """Whether the folder was made from what `key` names. Otherwise, it is removed."""
    stamp = folder.with_name(f"{folder.name}.made-of")
    if folder.is_dir() and stamp.exists() and stamp.read_text() == key:
        return True
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return False


def mark_made(folder: Path, key: str) -> None:
    tree.write_atomically(folder.with_name(f"{folder.name}.made-of"), key)


def make_toolchain(output: Path, downloads: Downloads) -> Path:
    packages = downloads.packages(SUITE, "arm64", C_LIBRARY)
    script = EXTERNAL / "scripts/toolchain"
    version = run(["aarch64-linux-gnu-gcc", "--version"]).splitlines()[0]
    folder = output / "toolchain"
    key = "\n".join([version, tree.sha256(script), *(path.name for path in packages)])
    if not made_once(folder, key):
        say(f"toolchain: {version}, C library {packages[0].name.split('_')[1]}")
        run([str(script), str(folder), *map(str, packages)])
        mark_made(folder, key)
    return folder


def unpack(folder: Path, packages: list[Path]) -> Path:
    key = "\n".join(path.name for path in packages)
    if not made_once(folder, key):
        folder.mkdir(parents=True)
        for package in packages:
            run(["dpkg-deb", "-x", str(package), str(folder)])
        (folder / "version").write_text(packages[0].name.split("_")[1] + "\n")
        mark_made(folder, key)
    return folder


def make_overlay(output: Path, image: Path, downloads: Downloads) -> Path:
    """The modules that the Debian kernel needs for OP-TEE, as board/overlay/etc/init.d/S10modules loads them."""
    release = json.loads((image / "image.json").read_text())["kernel_release"]
    folder = output / "overlay"
    [package] = downloads.packages(SUITE, "arm64", (f"linux-image-{release}",))
    unpacked = unpack(output / "kernel-package", [package])
    found = {module_name(str(path)): path for path in unpacked.rglob("*.ko*")}
    order: list[str] = []

    def add(name: str) -> None:
        if name in order or name not in found:  # built in
            return
        needed = run(["modinfo", "-F", "depends", str(found[name])]).strip()
        for other in filter(None, needed.split(",")):
            add(other.replace("-", "_"))
        order.append(name)

    for name in MODULES:
        if name not in found:
            raise BuildError(f"{package.name} has no module {name}")
        add(name)
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / "usr/lib/modules"  # Buildroot's root file system has one /usr, to which /lib leads
    target.mkdir(parents=True)
    for name in order:
        path = found[name]
        data = run_bytes(["xz", "-dc", str(path)]) if path.suffix == ".xz" else path.read_bytes()
        (target / f"{name}.ko").write_bytes(data)
    (target / "order").write_text("".join(f"{name}.ko\n" for name in order))
    return folder


def make_overrides(output: Path) -> str:
    """Folders that Buildroot takes for the sources of host tools, and the text of local.mk that names them."""
    folder = output / "overrides"
    shutil.rmtree(folder, ignore_errors=True)
    patchelf = output / "patchelf"
    patchelf.write_text(PATCHELF)
    patchelf.chmod(0o755)
    programs = {
        "patchelf": {"patchelf": patchelf},
        "fakeroot": {name: Path(shutil.which(name) or f"/usr/bin/{name}") for name in ("fakeroot", "faked")},
        "tar": {"tar": Path(shutil.which("tar") or "/bin/tar")},
    }
    text = "# Made by tools/buildroot.\n"
    for name, reason in OVERRIDES.items():
        source = folder / name
        source.mkdir(parents=True)
        links = "".join(f"\tln -sf {path} $(prefix)/bin/{tool}\n" for tool, path in programs.get(name, {}).items())
        configure = source / "configure"
        configure.write_text(
            "#!/bin/sh\n"
            "for option; do case $option in --prefix=*) prefix=${option#--prefix=} ;; esac; done\n"
            '{ echo "prefix = $prefix"; cat Makefile.in; } >Makefile\n'
        )
        configure.chmod(0o755)
        (source / "Makefile.in").write_text(f"all:\ninstall:\n\tmkdir -p $(prefix)/bin\n{links}")
        variable = name.upper()
        text += f"# {name}: {reason}\n{variable}_OVERRIDE_SRCDIR = {source}\noverride {variable}_AUTORECONF = NO\n"
    return text
