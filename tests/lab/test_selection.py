"""A run records what was selected and whether it ended. The lab is started as a user does."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.test_environments import environments_emulator, lab, one_line
from tzml.results.history import History
from tzml.results.run import Run, Selection, read_run
from tzml_lab.environment import ROOT
from tzml_lab.results.selection import commit_of, paths_of

LAB = ROOT / "lab"


@pytest.mark.parametrize(
    ("folder", "arguments", "expected"),
    [
        (ROOT, ["lab"], []),
        (ROOT, ["lab/"], []),
        (ROOT, ["."], []),
        (LAB, ["."], []),
        (Path("/"), [str(LAB)], []),
        (ROOT, ["lab/test_boot.py", "lab"], []),
        (ROOT, ["lab/test_boot.py"], ["test_boot.py"]),
        (LAB, ["test_xtest.py", "./test_boot.py", "test_boot.py"], ["test_boot.py", "test_xtest.py"]),
        (ROOT, ["lab/test_boot.py::test_files_travel[a::b]"], ["test_boot.py::test_files_travel[a::b]"]),
        (ROOT, ["/elsewhere/test_mine.py"], ["/elsewhere/test_mine.py"]),
    ],
)
def test_a_selection_is_the_same_however_it_is_spelled(
    folder: Path, arguments: list[str], expected: list[str]
) -> None:
    assert paths_of(arguments, folder, LAB) == expected


def test_a_selection_reads_like_a_command_line() -> None:
    assert str(Selection()) == "everything"
    selection = Selection(paths=["test_boot.py"], keyword="not tee", markers="slow", options={"xtest": "full"})
    assert str(selection) == "test_boot.py -k 'not tee' -m slow --xtest full"


def test_a_folder_in_another_clone_has_no_commit(tmp_path: Path) -> None:
    assert commit_of(tmp_path) is None
    assert commit_of(LAB) is None


@pytest.fixture
def qemu_that_fails(deploy: Path, edit: Callable[..., None], tmp_path: Path) -> Path:
    """A QEMU that says its version and boots nothing: no test that needs a machine gets one. The deploy folder."""
    program = tmp_path / "qemu"
    program.write_text(f"#!{sys.executable}\nimport sys\nif '-version' in sys.argv: print('QEMU 7.2.0')\n")
    program.chmod(0o755)
    edit(emulator={**environments_emulator(deploy), "program": str(program)})
    return deploy.parent


def runs_of(folder: Path) -> list[Run]:
    return History(folder / "history.jsonl").runs()


def test_a_run_records_what_was_selected(qemu_that_fails: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ("--lg-env", "qemu", "--results", str(results), "-k", "boot and not files", "--xtest", "full")
    done = lab(*arguments, LG_DEPLOY=str(qemu_that_fails))
    [run] = runs_of(results)
    assert run.context.selection == Selection(
        keyword="boot and not files", options={"xtest": "full", "networks": "part"}
    ), done.stdout
    assert run.course
    assert run.course.selected == run.course.ended == run.tests.total > 0
    assert run.complete
    assert run.course.seconds > 0
    assert run.context.commit == commit_of(ROOT)


def test_a_run_that_stops_early_is_not_complete(qemu_that_fails: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ("--lg-env", "qemu", "--results", str(results), "-x", "-k", "test_boot")
    done = lab(*arguments, LG_DEPLOY=str(qemu_that_fails))
    said = re.search(r"interrupted: 1 of (\d+) tests ended; this run is compared with no other", done.stdout)
    assert said, done.stdout
    [run] = runs_of(results)
    assert run == read_run(results / "latest").run.model_copy(update={"series": run.series})
    assert run.course
    assert (run.course.ended, run.course.selected) == (1, int(said[1]))
    assert not run.complete
    [failure] = run.failures
    log = (results / "latest" / failure.log).read_text()
    assert failure.log.startswith("failures/test_boot.py-test_stages")
    assert "infrastructure failure: on the way to state booted: QEMU did not start" in log
    assert "last lines of the secure world's console:" in log


def test_a_run_without_tests_leaves_nothing(deploy: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    arguments = ("--lg-env", "qemu", "--results", str(results), "-k", "nothing_is_called_so")
    done = lab(*arguments, LG_DEPLOY=str(deploy.parent))
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    assert "junit.xml" not in done.stdout
    assert not results.exists()
    results.mkdir()
    (results / "latest").symlink_to("20261101-020000-qemu")
    lab(*arguments, LG_DEPLOY=str(deploy.parent))
    assert [path.name for path in results.iterdir()] == ["latest"]
    assert (results / "latest").readlink() == Path("20261101-020000-qemu")


def test_several_processes_are_refused(deploy: Path) -> None:
    line = one_line(lab("--lg-env", "qemu", "-n", "2", LG_DEPLOY=str(deploy.parent)))
    assert "the lab tests one machine" in line
    assert "leave out -n" in line


def test_results_that_cannot_be_kept_are_reported(qemu_that_fails: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "history.jsonl").mkdir(parents=True)
    arguments = ("--lg-env", "qemu", "--results", str(results), "-k", "test_stages_come_in_order")
    done = lab(*arguments, LG_DEPLOY=str(qemu_that_fails))
    assert "Traceback" not in done.stdout + done.stderr
    assert "the results could not be kept: " in done.stdout
    assert json.loads((results / "latest" / "results.json").read_text())["course"]["ended"] == 1
