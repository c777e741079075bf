"""What `make` alone lists is what there is, and keys are deleted only when a person says so."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


def test_help_lists_the_targets() -> None:
    shown = subprocess.run(
        ["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = set(re.findall(r"^make ([a-z0-9-]+) ", shown, re.MULTILINE))
    [phony] = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert listed - {"image-rpi3"} == set(phony.split()) - {"help", "setup"}


def test_locks_say_how_they_are_made() -> None:
    for lock in ("requirements.lock", "requirements-frontends.lock"):
        assert (ROOT / lock).read_text().startswith("# Made by tools/lock (make lock) from requirements")


@pytest.mark.parametrize(("answer", "kept"), [("", True), ("\n", True), ("n\n", True), ("y\n", False)])
def test_keys_are_deleted_when_a_person_says_so(tmp_path: Path, answer: str, kept: bool) -> None:
    for name in ("build/keys", "build/deploy", "results", ".venv"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "build/keys/ta-signing.pem").write_text("secret")
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools/delete-keys", tmp_path / "tools")
    command: list[str | Path] = ["make", "-f", ROOT / "Makefile", "distclean"]
    done = subprocess.run(command, cwd=tmp_path, input=answer, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ta-signing.pem" in done.stdout
    left = ["build/keys", "build/keys/ta-signing.pem"] if kept else []
    there = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))]
    assert [path for path in there if "tools" not in path] == (["build", *left] if kept else [])


def test_clean_keeps_keys_and_results(tmp_path: Path) -> None:
    for name in ("build/keys", "build/deploy", "results/latest", ".venv"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, capture_output=True, check=True)
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert there == {"build", "build/keys", "results", "results/latest", ".venv"}
