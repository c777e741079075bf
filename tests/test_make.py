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


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in which an earlier version, which kept its keys in build/keys, built and tested images."""
    for name in ("build/keys", "build/deploy", "results/2026-11-28-qemu", ".venv", "tools"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "build/keys/ta-signing.pem").write_text("secret")
    (tmp_path / "results/history.jsonl").write_text("{}\n")
    shutil.copy(ROOT / "tools/distclean", tmp_path / "tools")
    return tmp_path


def distclean(folder: Path, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-f", str(ROOT / "Makefile"), "distclean", *arguments]
    return subprocess.run(command, cwd=folder, input=answer, capture_output=True, text=True, check=False)


def what_is_left(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")} - {"tools", "tools/distclean"}


PRECIOUS = {"results", "results/2026-11-28-qemu", "results/history.jsonl"}
KEYS = {"build", "build/keys", "build/keys/ta-signing.pem"}


@pytest.mark.parametrize(("answer", "kept"), [("\n", True), ("n\n", True), ("y\n", False)])
def test_keys_and_results_are_deleted_when_a_person_says_so(checkout: Path, answer: str, kept: bool) -> None:
    done = distclean(checkout, answer)
    assert done.returncode == 0, done.stderr
    assert "ta-signing.pem" in done.stdout
    assert "1 runs and their history" in done.stdout
    assert what_is_left(checkout) == (PRECIOUS | KEYS if kept else set())


def test_without_an_answer_nothing_is_deleted(checkout: Path) -> None:
    before = what_is_left(checkout)
    done = distclean(checkout, "")
    assert done.returncode != 0
    assert "there is nobody to ask, so nothing is deleted. `make distclean YES=y` deletes all of it" in done.stderr
    assert what_is_left(checkout) == before


def test_who_says_so_beforehand_is_not_asked(checkout: Path) -> None:
    done = distclean(checkout, "", "YES=y")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert what_is_left(checkout) == set()


def test_clean_keeps_keys_and_results(tmp_path: Path) -> None:
    for name in ("build/keys", "build/deploy", "results/latest", ".venv"):
        (tmp_path / name).mkdir(parents=True)
    subprocess.run(["make", "-f", ROOT / "Makefile", "clean"], cwd=tmp_path, capture_output=True, check=True)
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert there == {"build", "build/keys", "results", "results/latest", ".venv"}
