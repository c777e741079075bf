"""What Python knows of libtzml is what its header says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tzml.client import declarations

ROOT = Path(__file__).resolve().parents[2]


def test_they_are_what_cffi_reads_in_the_header_today(tmp_path: Path) -> None:
    made = tmp_path / "declarations.py"
    subprocess.run([sys.executable, str(ROOT / "tools/declare"), str(made)], check=True)
    assert made.read_text() == Path(declarations.__file__).read_text(), "run tools/declare"


def test_no_command_reads_c_when_it_begins() -> None:
    begun = "import sys, tzml.client, tzml.cli.run; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", begun], check=True, capture_output=True, text=True
    ).stdout.split()
    assert "_cffi_backend" in modules
    assert not {"cffi", "pycparser"} & set(modules)
