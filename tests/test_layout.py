"""The rules of the repository that a reader relies on."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from itertools import permutations
from pathlib import Path

import grimp
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
    allowed = ("py/tzml/compiler/", "tests/compiler/")
    assert all(line.startswith(allowed) for line in found), found


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


def test_the_compilers_folders_have_few_layers_and_few_imports_between_them() -> None:
    """Which are allowed is a contract in pyproject.toml, and tests/test_lint.py checks it. Here is its size."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    [layers] = [contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers"]
    assert len(layers) <= 6
    graph = grimp.build_graph("tzml", cache_dir=None)
    parts = graph.find_children("tzml.compiler")
    edges = [
        (importer, imported)
        for importer, imported in permutations(parts, 2)
        if graph.direct_import_exists(importer=importer, imported=imported, as_packages=True)
    ]
    assert 10 <= len(edges) <= 30, edges


def test_a_public_class_has_a_name_that_no_other_one_has() -> None:
    found: dict[str, list[str]] = {}
    for path in tracked("py/*.py", "lab/*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 100
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
