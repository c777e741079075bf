"""The runtime's tests in C (tests/c), which AddressSanitizer and UBSan watch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from bundle_examples import FOLDER


@pytest.mark.parametrize(
    "program", ["test_calls", "test_checks", "test_model", "test_policy", "test_sealed", "test_stage"]
)
def test_every_check_passes(c_tests: Path, program: str) -> None:
    arguments = [] if program in ("test_calls", "test_policy") else [FOLDER]
    done = subprocess.run([c_tests / program, *arguments], capture_output=True, text=True, check=False)
    *checks, plan = done.stdout.splitlines() or [""]
    assert [line for line in checks if not line.startswith("ok ")] == []
    assert done.returncode == 0, done.stderr
    assert plan == f"1..{len(checks)}"
    assert len(checks) > 3
