from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from results.conftest import MakeRun
from tzml.cli import tzml
from tzml.errors import TzmlError
from tzml.results.history import History
from tzml.results.run import Run


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(tzml, [str(argument) for argument in arguments])


@pytest.fixture
def history(tmp_path: Path, nights: list[Run]) -> Path:
    """Where the commands look for it: beside the runs."""
    path = tmp_path / "results" / "history.jsonl"
    for night in nights:
        History(path).add(night)
    return path


@pytest.mark.usefixtures("history")
def test_check_tells_a_regression_by_its_exit_code(make_run: MakeRun) -> None:
    good = run("results", "check", make_run(20).folder)
    assert good.exit_code == 0
    assert good.output == "night20-rpi3, against 12 comparable runs: no regression\n"
    bad = run("results", "check", make_run(21, {"digits/tee/inference": 1.3}).folder)
    assert bad.exit_code == 14
    assert "1 got worse: digits/tee/inference" in bad.output
    assert "+29.9 %" in bad.output


def test_check_without_a_history_says_that_it_cannot_tell(make_run: MakeRun) -> None:
    found = run("results", "check", make_run().folder)
    assert found.exit_code == 0
    assert "against 0 comparable runs: a verdict needs 8" in found.output


def test_record_adds_a_run_once(tmp_path: Path, make_run: MakeRun) -> None:
    path = tmp_path / "elsewhere.jsonl"
    folder = make_run().folder
    assert run("results", "record", folder, "--history", path).output.endswith(": added\n")
    assert run("results", "record", folder, "--history", path).output.endswith(": already contains it\n")
    assert len(History(path).runs()) == 1


def test_a_damaged_line_is_named(history: Path, make_run: MakeRun) -> None:
    history.write_text("nonsense\n" + history.read_text())
    found = run("results", "check", make_run(20).folder)
    assert "history.jsonl:1 is not a run and was skipped" in found.output
    assert "against 12 comparable runs" in found.output


def test_bencher_reads_nanoseconds_with_bounds(make_run: MakeRun) -> None:
    found = json.loads(run("results", "export", make_run().folder, "--format", "bencher").output)
    assert found["rpi3/digits/tee/inference"] == {
        "latency": {
            "value": pytest.approx(5.2e6), "lower_value": pytest.approx(5.1e6), "upper_value": pytest.approx(5.3e6),
        }
    }  # fmt: skip
    assert found["rpi3/digits/secure-peak"]["memory"]["value"] == 565248
    assert found["rpi3/digits/tee-to-ree"]["ratio"]["value"] == 1.5


def test_github_action_benchmark_reads_a_list(tmp_path: Path, make_run: MakeRun) -> None:
    output = tmp_path / "benchmark.json"
    done = run("results", "export", make_run().folder, "--format", "github-action-benchmark", "-o", output)
    assert done.exit_code == 0
    found = {entry["name"]: entry for entry in json.loads(output.read_text())}
    entry = found["rpi3/digits/tee/inference"]
    assert (entry["unit"], entry["value"], entry["range"]) == ("s", pytest.approx(0.0052), "± 0.0001")
    assert set(entry) == {"name", "unit", "value", "range", "extra"}


def test_report_of_no_run_says_what_to_give(tmp_path: Path) -> None:
    found = run("report", tmp_path / "nothing")
    assert isinstance(found.exception, TzmlError)
    assert "there is no folder" in str(found.exception)
