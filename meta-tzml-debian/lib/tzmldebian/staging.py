# SPDX-License-Identifier: Apache-2.0
"""Sysroots: what a recipe stages for others, and what it receives from its dependencies."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bb

from . import tree


def stage(d: Any) -> None:
    """Copy SYSROOT_DIRS of D into SYSROOT_DESTDIR.

    Further copies are hard links. Links to files in D would disturb tasks that read D, because tar takes a new link
    for a change.
    """
    image, staged = Path(d.getVar("D")), Path(d.getVar("SYSROOT_DESTDIR"))
    ignored = [image / path.lstrip("/") for path in d.getVar("SYSROOT_DIRS_IGNORE").split()]
    for name in d.getVar("SYSROOT_DIRS").split():
        source = image / name.lstrip("/")
        if source.is_dir() and not source.is_symlink():
            _merge(source, staged / name.lstrip("/"), ignored, shutil.copy2)


def publish(d: Any) -> None:
    tree.replace_tree(Path(d.getVar("SYSROOT_DESTDIR")), Path(d.getVar("SYSROOT_COMPONENT")))


def collect(d: Any) -> None:
    """Fill RECIPE_SYSROOT with what this recipe's dependencies, direct and indirect, have staged."""
    sysroot, components = Path(d.getVar("RECIPE_SYSROOT")), Path(d.getVar("COMPONENTS_DIR"))
    recipes = {
        recipe
        for recipe, task, *_ in d.getVar("BB_TASKDEPDATA", False).values()
        if task == "do_populate_sysroot" and recipe != d.getVar("PN")
    }
    for recipe in sorted(recipes):
        found = [folder for arch in _archs(d) if (folder := components / arch / recipe).is_dir()]
        if not found:
            bb.fatal(
                f"{recipe} has staged nothing in {components}: run `bitbake -c clean {recipe}` and build again"
            )
        _merge(found[0], sysroot, [], _place)
    # on Debian these are links into /usr, on which linker scripts rely
    for name in ("bin", "lib", "sbin"):
        link = sysroot / name
        if not link.exists():
            sysroot.joinpath("usr", name).mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"usr/{name}")


def clean(d: Any) -> None:
    """Remove everything that this recipe has built or published."""
    for folder in ("WORKDIR", "SYSROOT_COMPONENT", "DEB_COMPONENT"):
        shutil.rmtree(d.getVar(folder), ignore_errors=True)
    stamps = Path(d.getVar("STAMP"))
    for stamp in stamps.parent.glob(f"{glob.escape(stamps.name)}.*"):
        stamp.unlink(missing_ok=True)


def _archs(d: Any) -> list[str]:
    return [d.getVar("MACHINE_ARCH"), d.getVar("TUNE_PKGARCH"), "all"]


def _merge(source: Path, target: Path, ignored: list[Path], place: Callable[[str, str], object]) -> None:
    def skip(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(folder, name) in ignored}

    if source in ignored:
        return
    shutil.copytree(source, target, symlinks=True, ignore=skip, copy_function=place, dirs_exist_ok=True)


def _place(source: str, target: str) -> None:
    if Path(target).exists() and not Path(target).samefile(source):
        bb.fatal(f"two dependencies stage {target}: remove one of them from DEPENDS")
    tree.link_or_copy(Path(source), Path(target))
