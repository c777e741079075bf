"""A file of Debian's archive says of which source package it is, with the epoch that its name leaves out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tzmldebian import provenance


def deb(folder: Path, *fields: str) -> Path:
    (folder / "DEBIAN").mkdir(parents=True)
    lines = (
        "Package: libx",
        "Version: 2:1.0-1+b3",
        "Architecture: arm64",
        "Maintainer: x",
        "Description: x",
        *fields,
    )
    (folder / "DEBIAN/control").write_text("".join(f"{line}\n" for line in lines))
    subprocess.run(["dpkg-deb", "--build", folder, f"{folder}.deb"], check=True, capture_output=True)
    return Path(f"{folder}.deb")


def test_a_package_names_its_source(tmp_path: Path) -> None:
    assert provenance.source_of(deb(tmp_path / "same")) == {"name": "libx", "version": "2:1.0-1+b3"}
    named = deb(tmp_path / "named", "Source: x")
    assert provenance.source_of(named) == {"name": "x", "version": "2:1.0-1+b3"}
    other = deb(tmp_path / "other", "Source: x (2:1.0-1)")
    assert provenance.source_of(other) == {"name": "x", "version": "2:1.0-1"}


def test_a_source_package_is_one_also_when_it_is_signed(tmp_path: Path) -> None:
    path = tmp_path / "x_1.0-1.dsc"
    path.write_text("-----BEGIN PGP SIGNED MESSAGE-----\n\nFormat: 3.0 (quilt)\nSource: x\nVersion: 1:1.0-1\n")
    assert provenance.source_of(path) == {"name": "x", "version": "1:1.0-1"}


@pytest.mark.parametrize(
    ("origin", "release"),
    [
        ("Debian:13.8/stable", "trixie"),
        ("Debian-Security:13/stable-security", "trixie"),
        ("Debian:unstable", "sid"),
        ("Debian trixie", "trixie"),
        ("Debian trixie/sid", "sid"),
        ("Debian sid optee-os_4.10.0-2.dsc", "sid"),
    ],
)
def test_an_origin_has_a_release(origin: str, release: str) -> None:
    assert provenance.release_of(origin) == release


def test_licences_are_those_of_a_copyright_file_for_programs(tmp_path: Path) -> None:
    def write(name: str, text: str) -> None:
        (tmp_path / "usr/share/doc" / name).mkdir(parents=True)
        (tmp_path / "usr/share/doc" / name / "copyright").write_text(text)

    form = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    write(
        "x",
        f"{form}\n\nFiles: *\nLicense: GPL-2+ or Artistic\n\nFiles: b\nLicense: Expat\n text\n\nLicense: Expat\n",
    )
    write("y", "License: Expat\n")
    assert provenance.licences_of(tmp_path, "x") == ["Expat", "GPL-2+ or Artistic"]
    assert provenance.licences_of(tmp_path, "y") == []
    assert provenance.licences_of(tmp_path, "z") == []
    (tmp_path / "usr/share/doc/out").symlink_to("/usr/share/doc/bash")
    assert provenance.licences_of(tmp_path, "out") == []
