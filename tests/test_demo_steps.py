"""What a long command says that its user has to know is shown at once, although all else goes to a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from tzml.cli.demo import IMAGE, LAB
from tzml.demo.steps import Step, run_step
from tzml.errors import TzmlError


def run(folder: Path, script: str) -> str:
    step = Step(IMAGE.title, ["sh", "-c", script], "kas.log", IMAGE.progress, IMAGE.failure, IMAGE.notice)
    screen = io.StringIO()
    run_step(step, folder, Console(file=screen, highlight=False))
    return screen.getvalue()


def test_a_build_that_waits_for_another_says_so(tmp_path: Path) -> None:
    shown = run(tmp_path, "echo first; echo 'kas: /b is in use by `kas build` (process 1): waiting'; echo last")
    assert "kas: /b is in use by `kas build` (process 1): waiting" in shown
    assert "first" not in shown
    assert (tmp_path / "build/logs/kas.log").read_text().splitlines()[::2] == ["first", "last"]


def test_a_build_that_fails_shows_the_errors_and_the_log(tmp_path: Path) -> None:
    with pytest.raises(TzmlError) as error:
        run(tmp_path, "echo NOTE; echo 'ERROR: the reason'; exit 3")
    said = "ERROR: the reason; the full log is build/logs/kas.log"
    assert str(error.value) == f"{IMAGE.title} failed with exit code 3:\n{said}"


def test_the_table_is_of_the_run_that_the_step_made(tmp_path: Path) -> None:
    """As the lab says it (lab/conftest.py): another run in the same checkout moves results/latest."""
    script = "echo '---- lab ----'; echo results: results/20261130-204500-qemu; echo ==== 9 passed ===="
    step = Step(LAB.title, ["sh", "-c", script], "lab.log", LAB.progress, LAB.failure, result=LAB.result)
    assert run_step(step, tmp_path, Console(file=io.StringIO())) == "results/20261130-204500-qemu"
