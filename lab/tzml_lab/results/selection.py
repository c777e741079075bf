"""What pytest was told to run, and from which commit."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tzml.results.run import Commit, Selection

# Options of pytest and of the lab that decide what is run, beside paths, -k and -m: destination, name
_OPTIONS = {
    "xtest": "xtest",
    "networks": "networks",
    "deselect": "deselect",
    "ignore": "ignore",
    "ignore_glob": "ignore-glob",
    "lg_initial_state": "lg-initial-state",
}
# What these select depends on earlier runs
_CHANGING = {"lf": "last-failed", "stepwise": "stepwise"}


def selection_of(config: pytest.Config, items: Sequence[pytest.Item], lab: Path) -> Selection:
    """The selection of a run, so that the same one is equal wherever pytest was started and however it was spelled.

    Args:
        config: of the run
        items: the tests that are left
        lab: the folder of the lab's tests

    """
    option = config.option
    options = {name: _text(getattr(option, key, None)) for key, name in _OPTIONS.items()}
    for key, name in _CHANGING.items():
        if getattr(option, key, False):
            names = "\n".join(sorted(item.nodeid for item in items))
            options[name] = hashlib.sha256(names.encode()).hexdigest()[:12]
    own = config.getini("addopts")
    return Selection(
        paths=paths_of(config.args, config.invocation_params.dir, lab),
        keyword=option.keyword,
        markers="" if option.markexpr in own else option.markexpr,
        options={name: value for name, value in options.items() if value},
    )


def paths_of(arguments: Sequence[str], folder: Path, lab: Path) -> list[str]:
    """Pytest's arguments, relative to the lab, in order; empty if one of them has the whole lab in it.

    Args:
        arguments: files, folders and node IDs
        folder: where pytest was started
        lab: the folder of the lab's tests

    """
    found = set()
    for argument in arguments:
        name, separator, test = argument.partition("::")
        path = Path(os.path.normpath(folder / name))
        if not separator and lab.is_relative_to(path):
            return []
        shown = path.relative_to(lab) if path.is_relative_to(lab) else path
        found.add(f"{shown}{separator}{test}")
    return sorted(found)


def _text(value: object) -> str:
    return " ".join(sorted(map(str, value))) if isinstance(value, list | tuple) else str(value or "")


def commit_of(clone: Path) -> Commit | None:
    """The commit that is checked out in a clone, or None if the folder is no clone or there is no git."""
    top = _git(clone, "rev-parse", "--show-toplevel")
    said = _git(clone, "log", "-1", "--format=%H%n%s")
    if top is None or said is None or Path(top).resolve() != clone.resolve():
        return None
    name, _, subject = said.partition("\n")
    return Commit(id=name, subject=subject, changed=bool(_git(clone, "status", "--porcelain", "-uno")))


def _git(clone: Path, *arguments: str) -> str | None:
    """What git says, or None if it fails."""
    command = ["git", "-C", str(clone), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
