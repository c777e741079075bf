"""The checks of a plan take time in the order of n log n. Whoever writes a bundle chooses the plan's shape."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import ROOT

from tzml.bench.programs import CROSS_LIBC, compile_c, run_emulated, source


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/c/count_checks.c for AArch64, where QEMU counts its instructions."""
    path = tmp_path_factory.mktemp("checks") / "count_checks"
    runtime = sorted((ROOT / "runtime").glob("*.c"))
    include = [f"-I{ROOT / 'runtime/include'}", f"-I{source('.')}"]
    compile_c(
        "aarch64-linux-gnu-gcc", [ROOT / "tests/c/count_checks.c", *runtime, *include, "-o", path], path.parent
    )
    return path


@pytest.mark.parametrize(
    ("shape", "calls"),
    [("forward", 4096), ("backward", 4096), ("growing", 4096), ("scattered", 4096), ("wide", 128)],
)
def test_twice_the_calls_take_little_more_than_twice_the_instructions(
    program: Path, shape: str, calls: int
) -> None:
    def instructions(count: int) -> float:
        cost = run_emulated([program, shape, str(count)], program.parent, CROSS_LIBC)
        assert cost.instructions
        return cost.instructions

    # n log n gives 2.17 here, n squared 4
    assert 1.9 < instructions(2 * calls) / instructions(calls) < 2.3
