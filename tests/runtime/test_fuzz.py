"""libFuzzer finds nothing in the bundle and plan parsers within a bounded number of runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from bundle_examples import Examples
from conftest import BUILD, ROOT, make

RUNS = int(os.environ.get("TZML_FUZZ_RUNS", "200000"))


@pytest.fixture(scope="module")
def fuzzer() -> Path:
    make("tests/c", f"O={BUILD / 'c'}", str(BUILD / "c" / "fuzz_bundle"))
    return BUILD / "c" / "fuzz_bundle"


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Every example, and with each of the harness' faults (a byte after the bundle)."""
    folder = tmp_path / "seeds"
    folder.mkdir()
    for example in Examples():
        for faults in (0, 1, 2, 4, 8, 16, 32, 64, 128):
            tail = bytes([faults]) if faults else b""
            (folder / f"{example.name}-{faults}").write_bytes(example.data + tail)
    return folder


def test_no_input_breaks_the_runtime(fuzzer: Path, seeds: Path, tmp_path: Path) -> None:
    found = tmp_path / "found"
    found.mkdir()
    profile = tmp_path / "fuzz.profraw"
    result = subprocess.run(
        [fuzzer, f"-runs={RUNS}", "-max_len=4096", "-seed=1", "-print_final_stats=1",
         f"-artifact_prefix={BUILD}/", found, seeds],
        env={**os.environ, "LLVM_PROFILE_FILE": str(profile)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-5000:]
    runs = re.search(r"number_of_executed_units: (\d+)", result.stderr)
    assert runs
    assert int(runs[1]) >= RUNS
    coverage = _coverage(fuzzer, profile)
    print(f"{runs[1]} inputs; lines covered: {coverage}")
    sources = {path.name for path in (ROOT / "runtime").glob("*.c")}
    assert sources <= set(coverage)
    for source in sources:
        assert coverage[source] >= 90, f"the fuzzer covers only {coverage[source]} % of runtime/{source}"


def _coverage(program: Path, profile: Path) -> dict[str, float]:
    """Percent of the lines of each source file that were run."""
    merged = profile.with_suffix(".profdata")
    subprocess.run(["llvm-profdata", "merge", profile, "-o", merged], check=True, capture_output=True)
    report = subprocess.run(
        ["llvm-cov", "export", "-summary-only", program, f"-instr-profile={merged}"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    files = json.loads(report)["data"][0]["files"]
    return {Path(f["filename"]).name: round(f["summary"]["lines"]["percent"], 1) for f in files}
