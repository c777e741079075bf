"""The runtime's tests in C (tests/c), which AddressSanitizer and UBSan watch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from bundle_examples import FOLDER


@pytest.mark.parametrize(
    "program",
    [
        "test_batch",
        "test_calls",
        "test_checkpoint",
        "test_checkpoint_checks",
        "test_checks",
        "test_device",
        "test_live",
        "test_memory",
        "test_model",
        "test_noise",
        "test_policy",
        "test_repeat",
        "test_sealed",
        "test_stage",
        "test_stage_checks",
        "test_stops",
    ],
)
def test_every_check_passes(c_tests: Path, program: str) -> None:
    alone = ("test_calls", "test_device", "test_live", "test_memory", "test_noise", "test_policy", "test_stops")
    arguments = [] if program in alone else [FOLDER]
    done = subprocess.run([c_tests / program, *arguments], capture_output=True, text=True, check=False)
    *checks, plan = done.stdout.splitlines() or [""]
    assert [line for line in checks if not line.startswith("ok ")] == []
    assert done.returncode == 0, done.stderr
    assert plan == f"1..{len(checks)}"
    assert len(checks) > 3
