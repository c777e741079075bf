from __future__ import annotations

import json
import re
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


@pytest.mark.usefixtures("history")
def test_check_tells_a_script(make_run: MakeRun) -> None:
    done = run("results", "check", "--json", make_run(21, {"digits/tee/inference": 1.3}).folder)
    assert done.exit_code == 14
    said = json.loads(done.output)
    assert said["regressions"] == ["digits/tee/inference"]
    assert said["enough"]
    assert len(said["compared_with"]) == 12
    [figure] = [f for f in said["figures"] if f["series"] == "digits/tee/inference"]
    assert (figure["change"], figure["is_regression"], figure["judged"]) == ("worse", True, True)
    assert figure["relative"] == pytest.approx(0.299, abs=1e-3)
    assert json.loads(run("results", "check", "--json", make_run(20).folder).output)["regressions"] == []


@pytest.mark.usefixtures("history")
def test_check_gives_no_verdict_about_an_interrupted_run(make_run: MakeRun) -> None:
    done = run("results", "check", make_run(20, {"digits/tee/inference": None}, ended=1).folder)
    assert done.exit_code == 2
    assert done.output == "night20-rpi3: interrupted after 1 of 3 tests: there is no verdict\n"


def test_list_shows_what_may_be_compared(tmp_path: Path, make_run: MakeRun) -> None:
    path = tmp_path / "history.jsonl"
    commit = {"id": "0123456789abcdef", "subject": "why", "changed": True}
    selection = {"paths": ["test_boot.py"], "keyword": "not files"}
    for one in (make_run(0), make_run(1, ended=3, selection=selection, commit=commit), make_run(2, ended=1)):
        History(path).add(one.run)
    lines = run("results", "list", "--history", path).output.splitlines()
    assert lines[0].split() == ["run", "board", "selection", "tests", "took", "load", "commit"]
    assert re.match(r" *night0-rpi3 +rpi3 +not recorded +2 passed, 1 skipped", lines[1])
    assert "test_boot.py -k 'not files'" in lines[2]
    assert "0123456789 changed" in lines[2]
    assert "interrupted at 1 of 3" in lines[3]
    said = json.loads(run("results", "list", "--history", path, "--json", "-n", "2").output)
    assert [one["complete"] for one in said] == [True, False]
    assert said[0]["selection"]["keyword"] == "not files"
    assert said[0]["tests"] == {"passed": 2, "failed": 0, "skipped": 1}


def test_list_of_nothing(tmp_path: Path) -> None:
    done = run("results", "list", "--history", tmp_path / "none")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'none'} has no runs\n")
    assert run("results", "list", "--history", tmp_path / "none", "--json").output == "[]\n"


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
