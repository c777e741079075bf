"""The linters of `make lint` and of commits, each as .pre-commit-config.yaml has it."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import pytest
from conftest import ROOT
from identify.identify import tags_from_path
from pre_commit.clientlib import load_config

HOOKS: list[dict[str, Any]] = [
    hook for repository in load_config(ROOT / ".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]
]


def files_of(hook: dict[str, Any]) -> list[str]:
    """What pre-commit hands to a hook."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [name for name in listed.split("\0") if name and (ROOT / name).exists()]
    return [name for name in paths if tags_from_path(str(ROOT / name)) >= {"file", *hook["types"]}]


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_lint(hook: dict[str, Any]) -> None:
    command = shlex.split(hook["entry"])
    program = next(word for word in command if word != "env" and "=" not in word)
    assert (ROOT / program).parent == ROOT / ".venv/bin"  # of the locked environment: nothing is downloaded
    assert hook["language"] in ("system", "unsupported")  # its older name and its newer one
    if hook.get("pass_filenames", True):
        files = files_of(hook)
        assert files
        command += files
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
