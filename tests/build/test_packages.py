"""From what do_install left to .deb files that dpkg reads, and to what an image installs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tzmldebian import packages, rootfs

from .conftest import Says


@pytest.fixture
def recipe(d: Any, tmp_path: Path) -> Any:
    values = {
        "D": tmp_path / "image",
        "DEB_BUILD_DIR": tmp_path / "debs",
        "DEB_COMPONENT": tmp_path / "deploy",
        "DEB_HOST_ARCH": "arm64",
        "DESCRIPTION": "Long " * 30,
        "FILES:app": "/usr/bin/* /etc",
        "FILES:app-dev": "/usr/include",
        "INHIBIT_PACKAGE_STRIP": "1",
        "MAINTAINER": "tests <t@localhost>",
        "PACKAGES": "app-dev app",
        "PKGDEST": tmp_path / "split",
        "PKGR": "r0",
        "PKGV": "0.1",
        "PN": "app",
        "SECTION": "base",
        "SUMMARY": "An app",
        "SYSTEMD_PACKAGES": "app",
        "TMPDIR": "/home/someone/build/tmp",
        "systemd_system_unitdir": "/usr/lib/systemd/system",
    }
    for name, value in values.items():
        d.setVar(name, str(value))
    tmp_path.joinpath("debs").mkdir()
    return d


def install(d: Any, **files: bytes) -> None:
    """What do_install leaves; names with __ for /."""
    for name, data in files.items():
        path = Path(d.getVar("D"), name.replace("__", "/"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def split_files(d: Any) -> dict[str, list[str]]:
    root = Path(d.getVar("PKGDEST"))
    return {
        package.name: sorted(str(p.relative_to(package)) for p in package.rglob("*") if p.is_file())
        for package in root.iterdir()
    }


def test_each_file_goes_to_the_first_package_that_names_it(recipe: Any) -> None:
    recipe.setVar("FILES:app-dev", "/usr/include /usr/bin/app-config")
    install(recipe, usr__bin__app=b"1", **{"usr__bin__app-config": b"2", "usr__include__app.h": b"3"})
    packages.split(recipe)
    assert split_files(recipe) == {"app": ["usr/bin/app"], "app-dev": ["usr/bin/app-config", "usr/include/app.h"]}


def test_a_file_that_no_package_takes_is_named(recipe: Any, one_error: Says) -> None:
    install(recipe, usr__share__lost=b"")
    with one_error("app: do_install created files that are in no package: /usr/share/lost", "FILES:${PN}"):
        packages.split(recipe)


def test_a_program_of_this_host_is_refused(recipe: Any, one_error: Says) -> None:
    install(recipe, usr__bin__app=b"\x7fELF".ljust(18, b"\0") + b"\x3e\0")  # x86-64
    packages.split(recipe)
    with one_error("app: /app/usr/bin/app is a program for another machine"):
        packages.check(recipe)


def test_a_path_of_this_host_is_refused(recipe: Any, one_error: Says) -> None:
    install(recipe, usr__bin__app=b"#!/home/someone/build/tmp/python")
    packages.split(recipe)
    with one_error("app: /app/usr/bin/app contains the path of the build folder"):
        packages.check(recipe)


def test_what_is_built_for_the_target_passes(recipe: Any) -> None:
    install(recipe, usr__bin__app=b"\x7fELF".ljust(18, b"\0") + b"\xb7\0")
    packages.split(recipe)
    packages.check(recipe)


def test_dpkg_reads_the_package(recipe: Any) -> None:
    recipe.setVar("RDEPENDS:app", "python3-core library (>= 2)")
    recipe.setVarFlag("DEBIAN_NAME", "python3-core", "python3")
    install(recipe, usr__bin__app=b"", etc__conf=b"x")
    packages.split(recipe)
    packages.write_debs(recipe)
    (deb,) = Path(recipe.getVar("DEB_COMPONENT")).glob("*.deb")
    assert deb.name == "app_0.1-r0_arm64.deb"

    def field(*arguments: str) -> str:
        return subprocess.run(["dpkg-deb", *arguments], capture_output=True, text=True, check=True).stdout

    assert field("--field", str(deb), "Depends").strip() == "library (>= 2), python3"
    assert field("--info", str(deb), "conffiles").strip() == "/etc/conf"
    owners = {line.split()[1] for line in field("--contents", str(deb)).splitlines()}
    assert owners == {"root/root"}


def test_a_package_with_a_script_is_refused(recipe: Any, one_error: Says) -> None:
    install(recipe, usr__bin__app=b"")
    packages.split(recipe)
    recipe.setVar("pkg_postinst:app", "ldconfig")
    with one_error("app has a pkg_postinst", "cannot have scripts"):
        packages.write_debs(recipe)


def test_a_unit_is_enabled_by_a_link(recipe: Any) -> None:
    install(recipe, **{"usr__lib__systemd__system__app.service": b"[Install]\nWantedBy=multi-user.target\n"})
    recipe.setVar("SYSTEMD_SERVICE:app", "app.service")
    packages.enable_units(recipe)
    link = Path(recipe.getVar("D"), "usr/lib/systemd/system/multi-user.target.wants/app.service")
    assert link.readlink() == Path("../app.service")


def test_a_unit_that_is_not_there_is_named(recipe: Any, one_error: Says) -> None:
    recipe.setVar("SYSTEMD_SERVICE:app", "app.service")
    with one_error("app: SYSTEMD_SERVICE names app.service, which do_install did not install in"):
        packages.enable_units(recipe)


class Made:
    """A package as rootfs sees it, without the file."""

    def __init__(self, name: str, *depends: str, provides: tuple[str, ...] = ()) -> None:
        self.name, self.depends, self.provides = name, list(depends), list(provides)


def test_an_image_installs_what_its_packages_need_first(d: Any) -> None:
    ours: Any = {
        p.name: p for p in (Made("app", "tee", "libc6"), Made("xtest", provides=("tee",)), Made("not-asked"))
    }
    d.setVar("IMAGE_INSTALL", "app")
    assert rootfs._closure(d, ours, {"libc6"}) == ["xtest", "app"]


def test_a_package_nobody_has_is_named_with_who_needs_it(d: Any, one_error: Says) -> None:
    ours: Any = {"app": Made("app", "libmissing")}
    d.setVar("IMAGE_INSTALL", "app")
    with one_error("app needs libmissing", "debian-packages.inc"):
        rootfs._closure(d, ours, set())


def test_names_are_read_from_relations() -> None:
    assert rootfs._names("python3 (>= 3.13), a | b, c") == ["python3", "a", "c"]
    assert rootfs._names(None) == []
