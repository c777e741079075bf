"""The same board and image through a shared lab with real coordinator, exporter, ser2net and sshd."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import ROOT
from tzml_lab.standin.loopback import LoopbackLab, missing
from tzml_lab.standin.process import StandIn
from tzml_lab.time_limits import scaled

pytestmark = [pytest.mark.lg_feature("standin"), pytest.mark.skipif(bool(missing()), reason=missing())]


def test_a_night_in_a_shared_lab(strategy: TrustZoneStrategy, standin: StandIn, tmp_path: Path) -> None:
    """What CI does with a board: reserve, lock, flash, test, report, compare, power off and unlock."""
    strategy.transition("off")  # from now on another run has the board
    board = standin.board.name
    lab = LoopbackLab(standin)
    results = tmp_path / "results"
    variables = os.environ | lab.variables
    variables |= {"LG_DEPLOY": str(standin.folder / "deploy"), "TZML_RESULTS": str(results), "CI": ""}
    variables["LG_TIME_SCALE"] = str(scaled(3))  # the environment's limits are for a real board, which is faster
    try:
        lab.start()
        done = subprocess.run(
            [ROOT / "ci" / "board.sh", board, "-k", "test_flash or test_inference", "-p", "no:cacheprovider"],
            cwd=ROOT, env=variables, capture_output=True, text=True, check=False, timeout=scaled(1500),
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "acquired: None" in lab.client("-p", lab.place, "show")
        assert not lab.client("reservations").strip()
        assert standin.ask("relay/1") == "0"
    finally:
        lab.stop()
    run = results / "latest"
    context = json.loads((run / "results.json").read_text())["context"]
    assert context["place"] == lab.place
    assert context["image"]["machine"] == board
    assert "<html" in (run / "report.html").read_text()
    assert json.loads((run / "bencher.json").read_text())
    assert len((results / "history.jsonl").read_text().splitlines()) == 1
