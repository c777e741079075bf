# SPDX-License-Identifier: Apache-2.0
"""Packaging: from the files that do_install left in D to .deb files."""

from __future__ import annotations

import configparser
import os
import re
import shutil
from pathlib import Path
from typing import Any

import bb

from . import host, tree

ELF_MAGIC = b"\x7fELF"
ELF_AARCH64 = 183
SCRIPTS = ("pkg_preinst", "pkg_postinst", "pkg_prerm", "pkg_postrm")


def split(d: Any) -> None:
    """Copy each file in D to the first of PACKAGES whose FILES match it. Does nothing without PACKAGES."""
    if not (d.getVar("PACKAGES") or "").split():
        return
    image, destination = Path(d.getVar("D")), Path(d.getVar("PKGDEST"))
    left = set(_walk(image))
    for package in d.getVar("PACKAGES").split():
        root = destination / package
        root.mkdir(parents=True)
        for path in sorted(_matching(image, (d.getVar(f"FILES:{package}") or "").split()) & left):
            left.discard(path)
            target = root / path.relative_to(image)
            _make_parents(image, path, root)
            if path.is_dir() and not path.is_symlink():
                target.mkdir(exist_ok=True)
                shutil.copystat(path, target)
            else:
                shutil.copy2(path, target, follow_symlinks=False)
        if not bb.utils.to_boolean(d.getVar("INHIBIT_PACKAGE_STRIP")):
            _strip(root, d.getVar("STRIP"))
    orphans = sorted(f"/{path.relative_to(image)}" for path in left if path.is_symlink() or not path.is_dir())
    if orphans and "installed-vs-shipped" not in (d.getVar("INSANE_SKIP") or "").split():
        bb.fatal(
            f"{d.getVar('PN')}: do_install created files that are in no package: {', '.join(orphans)}. "
            "Name them in FILES:${PN}, or do not install them"
        )


def _walk(root: Path) -> list[Path]:
    return [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)]


def _matching(image: Path, patterns: list[str]) -> set[Path]:
    found: set[Path] = set()
    for pattern in patterns:
        for path in image.glob(pattern.strip("/")):
            found.add(path)
            if path.is_dir() and not path.is_symlink():
                found.update(_walk(path))
    return found


def _make_parents(image: Path, path: Path, root: Path) -> None:
    for parent in reversed(path.relative_to(image).parents[:-1]):
        if not root.joinpath(parent).exists():
            root.joinpath(parent).mkdir()
            shutil.copystat(image / parent, root / parent)


def _strip(root: Path, strip: str) -> None:
    for path in _walk(root):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as stream:
            if stream.read(4) != ELF_MAGIC:
                continue
        mode = path.stat().st_mode
        path.chmod(mode | 0o200)
        host.run([strip, "--strip-unneeded", "--remove-section=.comment", str(path)])
        path.chmod(mode)


def check(d: Any) -> None:
    """do_package_qa: refuse programs for another machine and paths of the build folder."""
    skip = (d.getVar("INSANE_SKIP") or "").split()
    root, work = Path(d.getVar("PKGDEST")), d.getVar("TMPDIR").encode()
    for path in _walk(root) if root.exists() else ():
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        name = f"{d.getVar('PN')}: /{path.relative_to(root)}"
        foreign = data.startswith(ELF_MAGIC) and int.from_bytes(data[18:20], "little") != ELF_AARCH64
        if foreign and "arch" not in skip:
            bb.fatal(f"{name} is a program for another machine: build it with ${{CC}}")
        if work in data and "buildpaths" not in skip:
            bb.fatal(f"{name} contains the path of the build folder: pass CFLAGS, which map it to /usr/src")


def enable_units(d: Any) -> None:
    """Enable systemd units by links in their package: <target>.wants/<unit> for each WantedBy."""
    directory = Path(d.getVar("D") + d.getVar("systemd_system_unitdir"))
    for package in d.getVar("SYSTEMD_PACKAGES").split():
        enable = d.getVar(f"SYSTEMD_AUTO_ENABLE:{package}") or d.getVar("SYSTEMD_AUTO_ENABLE") or "enable"
        for unit in (d.getVar(f"SYSTEMD_SERVICE:{package}") or "").split():
            if not directory.joinpath(unit).exists():
                bb.fatal(
                    f"{package}: SYSTEMD_SERVICE names {unit}, which do_install did not install in {directory}"
                )
            if enable != "enable":
                continue
            parser = configparser.RawConfigParser(strict=False, interpolation=None)
            parser.optionxform = str  # type: ignore[assignment, method-assign]
            parser.read(directory / unit)
            for target in parser.get("Install", "WantedBy", fallback="").split():
                wants = directory / f"{target}.wants"
                wants.mkdir(exist_ok=True)
                wants.joinpath(unit).unlink(missing_ok=True)
                wants.joinpath(unit).symlink_to(f"../{unit}")


def debian_name(package: str) -> str:
    return package.lower().replace("_", "-")


def relation(d: Any, names: str | None) -> str:
    """A field such as Depends, with the Debian names of our packages and of Debian's."""
    result = []
    for name, versions in bb.utils.explode_dep_versions2(names or "").items():
        for debian in (d.getVarFlag("DEBIAN_NAME", name) or debian_name(name)).split():
            result += [f"{debian} ({version})" for version in versions] or [debian]
    return ", ".join(dict.fromkeys(result))


def version(d: Any) -> str:
    epoch = d.getVar("PE")
    return (f"{epoch}:" if epoch else "") + f"{d.getVar('PKGV')}-{d.getVar('PKGR')}"


def write_debs(d: Any) -> None:
    built = Path(d.getVar("DEB_BUILD_DIR"))
    for package in (d.getVar("PACKAGES") or "").split():
        root = Path(d.getVar("PKGDEST"), package)
        for script in SCRIPTS:
            if d.getVar(f"{script}:{package}"):
                bb.fatal(
                    f"{package} has a {script}: packages of the Debian feed cannot have scripts, "
                    "because no code of the target runs while its image is made"
                )
        if any(root.iterdir()) or bb.utils.to_boolean(d.getVar(f"ALLOW_EMPTY:{package}")):
            _write_deb(d, package, root, built)
    tree.replace_tree(built, Path(d.getVar("DEB_COMPONENT")))


def _write_deb(d: Any, package: str, root: Path, built: Path) -> None:
    name = debian_name(d.getVar(f"PKG:{package}") or package)
    architecture = "all" if d.getVar("PACKAGE_ARCH") == "all" else d.getVar("DEB_HOST_ARCH")
    files = [path for path in _walk(root) if not path.is_dir() or path.is_symlink()]
    summary = d.getVar(f"SUMMARY:{package}") or d.getVar("SUMMARY")
    description = d.getVar(f"DESCRIPTION:{package}") or d.getVar("DESCRIPTION")
    fields = {
        "Package": name,
        "Version": version(d),
        "Architecture": architecture,
        "Maintainer": d.getVar("MAINTAINER"),
        "Section": d.getVar("SECTION"),
        "Priority": "optional",
        "Installed-Size": str((sum(path.lstat().st_size for path in files) + 1023) // 1024),
        "Homepage": d.getVar("HOMEPAGE"),
        "Depends": relation(d, d.getVar(f"RDEPENDS:{package}")),
        "Provides": relation(d, d.getVar(f"RPROVIDES:{package}")),
        "Conflicts": relation(d, d.getVar(f"RCONFLICTS:{package}")),
        "Replaces": relation(d, d.getVar(f"RREPLACES:{package}")),
        "Description": "\n ".join([summary, *re.findall(r".{1,76}(?:\s|$)", description)]),
    }
    control = root / "DEBIAN"
    control.mkdir(mode=0o755)
    text = "".join(f"{key}: {value.strip()}\n" for key, value in fields.items() if value and value.strip())
    control.joinpath("control").write_text(text)
    configuration = sorted(
        f"/{path.relative_to(root)}"
        for path in files
        if path.relative_to(root).parts[0] == "etc" and not path.is_symlink()
    )
    if configuration:
        control.joinpath("conffiles").write_text("\n".join(configuration) + "\n")
    command = ["dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", str(root), str(built)]
    bb.note(host.run(command).strip())
    shutil.rmtree(control)
