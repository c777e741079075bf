from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from results.conftest import MakeRun
from tzml.errors import TzmlError
from tzml.results.history import History


def test_runs_come_back_oldest_first_without_samples(tmp_path: Path, make_run: MakeRun) -> None:
    history = History(tmp_path / "somewhere" / "history.jsonl")
    assert history.runs() == []
    for night in (2, 0, 1):
        assert history.add(make_run(night).run)
    runs = history.runs()
    assert [run.name for run in runs] == ["night0-rpi3", "night1-rpi3", "night2-rpi3"]
    series = runs[0].series["boot/login"]
    assert (series.median, series.n, series.samples) == (30.0, 2, [])


def test_a_run_is_kept_once(tmp_path: Path, make_run: MakeRun) -> None:
    history = History(tmp_path / "history.jsonl")
    assert history.add(make_run().run)
    assert not history.add(make_run().run)
    assert len(history.path.read_text().splitlines()) == 1
    history.path.write_text(history.path.read_text() * 2)  # two machines' histories, joined
    assert len(history.runs()) == 1


def test_a_torn_line_costs_only_itself(tmp_path: Path, make_run: MakeRun) -> None:
    history = History(tmp_path / "history.jsonl")
    history.add(make_run(0).run)
    with history.path.open("a") as file:
        file.write('{"format": 1, "run": {"na')  # killed while writing
    history.add(make_run(1).run)
    assert [run.name for run in history.runs()] == ["night0-rpi3", "night1-rpi3"]
    assert history.damaged == [2]


def test_a_format_of_another_time(tmp_path: Path, make_run: MakeRun) -> None:
    history = History(tmp_path / "history.jsonl")
    history.add(make_run().run)
    history.path.write_text(history.path.read_text().replace('{"format":1', '{"format":7', 1))
    with pytest.raises(TzmlError, match=r"history.jsonl:1 has format 7; this tzml knows format 1"):
        history.runs()


def test_runs_that_end_together_are_both_kept(tmp_path: Path, make_run: MakeRun) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from tzml.results.history import History
        from tzml.results.run import read_run
        run = read_run(Path(sys.argv[2])).run
        for number in range(20):
            History(Path(sys.argv[1])).add(run.model_copy(update={"digest": f"{sys.argv[2]} {number}"}))
    """
    path = tmp_path / "history.jsonl"
    folders = [make_run(night).folder for night in (0, 1)]
    writers = [subprocess.Popen([sys.executable, "-c", program, path, folder]) for folder in folders]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(History(path).runs()) == 40


def test_no_place_for_it(tmp_path: Path, make_run: MakeRun) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TzmlError, match=r"cannot be written: .*; give another --history"):
        History(tmp_path / "file" / "history.jsonl").add(make_run().run)
