"""The linters of `make lint`, each as .pre-commit-config.yaml has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import BUILD, ROOT

PRE_COMMIT = Path(sys.executable).with_name("pre-commit")
HOOKS = [
    hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
]


@pytest.mark.parametrize("hook", [hook["id"] for hook in HOOKS])
def test_lint(hook: str) -> None:
    environment = os.environ | {"PRE_COMMIT_HOME": str(BUILD / "pre-commit")}
    done = subprocess.run(
        [PRE_COMMIT, "run", "--all-files", hook],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    assert done.stdout.rstrip().endswith("Passed"), done.stdout  # and not: no files to check


def test_hooks_need_no_network() -> None:
    """They are programs of the locked environment."""
    for hook in HOOKS:
        assert hook["language"] == "system"
        assert (ROOT / hook["entry"].split()[0]).is_relative_to(ROOT / ".venv" / "bin")
