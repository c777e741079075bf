"""The rules of the repository that a reader relies on."""

from __future__ import annotations

import ast
import re
import subprocess
from graphlib import TopologicalSorter
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


COMPILER = ROOT / "py" / "tzml" / "compiler"


def compiler_imports() -> dict[str, set[str]]:
    """Which parts of the compiler, folders or modules, import which others."""
    parts = {path.stem for path in COMPILER.iterdir() if path.name not in ("__init__.py", "__pycache__")}
    found: dict[str, set[str]] = {part: set() for part in parts}
    for path in tracked("py/tzml/compiler/*.py"):
        part = path.relative_to(COMPILER).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            others = {name.split(".")[2] for name in names if name.startswith("tzml.compiler.")}
            found[part] |= others & parts - {part}
    return found


def test_the_compilers_parts_are_at_most_six_layers_without_a_cycle() -> None:
    imports = compiler_imports()
    assert sum(map(len, imports.values())) <= 30
    layers = TopologicalSorter(imports)  # raises CycleError
    layers.prepare()
    count = 0
    while layers.is_active():
        ready = layers.get_ready()
        layers.done(*ready)
        count += 1
    assert 4 <= count <= 6, imports


def test_a_public_class_has_a_name_that_no_other_one_has() -> None:
    found: dict[str, list[str]] = {}
    for path in tracked("py/*.py", "lab/*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert len(found) > 100
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}
