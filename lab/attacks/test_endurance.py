"""Attack: ask a sealed model so often that what leaks a little each time is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from labgrid import Target

from tzml.bundle import OutputPolicy
from tzml_lab.inference.granted import FOLDER, enrolled
from tzml_lab.target import Commands
from tzml_lab.time_limits import scaled

RUNS = {"part": 200, "full": 10_000}


@pytest.mark.lg_feature("python")
def test_no_memory_is_lost_and_the_budget_ends_where_it_says(
    command: Commands, target: Target, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    runs = RUNS[pytestconfig.option.networks]
    folder = tmp_path / Path(FOLDER).name
    folder.mkdir()
    (folder / "endure.py").write_bytes((Path(__file__).parents[1] / "target" / "endure.py").read_bytes())
    lab = enrolled(command, target, folder)
    lab.grant("counted", budget=runs, policy=OutputPolicy.top_1)
    endure = f"python3 {FOLDER}/endure.py {FOLDER}/sealed.tzm {FOLDER}/counted.tzg {runs}"
    (line,) = command.run_check(endure, timeout=scaled(60 + runs // 20))
    found = json.loads(line)
    early, late = found["memory"]
    assert early == late
    assert found["answers"] == 1
    assert lab.do(("sealed", "counted")) == ["BUDGET"]
