"""The rules of the repository that a reader relies on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from conftest import ROOT


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z", "--", *patterns], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in files if path.exists() and not path.is_symlink()]


def lines_with(pattern: str, *patterns: str) -> list[str]:
    found = []
    for path in tracked(*patterns):
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if re.search(pattern, line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return found


def test_tvm_is_called_in_one_package_only() -> None:
    found = lines_with(r"^\s*(import|from) tvm\b", "*.py")
    assert found
    assert all(line.startswith("py/tzml/compiler/") for line in found), found


def test_labgrid_is_subclassed_in_one_package_only() -> None:
    found = lines_with(r"^\s*(import|from) labgrid\b", "*.py")
    allowed = ("lab/", "tests/lab/")
    assert all(line.startswith(allowed) for line in found), found


def test_no_registry_is_named() -> None:
    hosts = "|".join(["deb.debian" + ".org", "security.debian" + ".org", "pypi" + ".org", "npmjs" + ".org"])
    assert lines_with(rf"\b({hosts})\b", ".") == []


def test_every_source_file_names_its_licence() -> None:
    for path in tracked("runtime/*.[ch]", "ta/*.[ch]", "host/*.[ch]", "py/*.[ch]", "*.mk", "*/Makefile"):
        assert "SPDX-License-Identifier" in path.read_text(), path
