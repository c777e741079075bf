from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tzml.errors import TzmlError
from tzml_lab.results.run_folder import RunFolder


def test_a_run_has_a_folder_and_latest_leads_there(tmp_path: Path) -> None:
    first = RunFolder.make(tmp_path, "qemu")
    assert not (tmp_path / "latest").exists()  # nothing ran yet
    first.begin()
    assert first.path.name.endswith("-qemu")
    assert (tmp_path / "latest").resolve() == first.path
    second = RunFolder.make(tmp_path, "qemu")  # within the same second
    second.begin()
    assert second.path != first.path
    assert (tmp_path / "latest").resolve() == second.path


def test_runs_that_start_together_have_folders_of_their_own(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from tzml_lab.results.run_folder import RunFolder
        for number in range(20):
            run = RunFolder.make(Path(sys.argv[1]), "qemu")
            run.begin()
            print(run.path)
    """
    command = [sys.executable, "-c", program, str(tmp_path / "results")]
    labs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [lab.communicate(timeout=60)[0].split() for lab in labs]
    assert [lab.returncode for lab in labs] == [0, 0, 0]
    assert len({path for paths in said for path in paths}) == 60


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path) -> None:
    RunFolder.make(tmp_path / "results", "qemu").remove_if_empty()
    assert not (tmp_path / "results").exists()
    (tmp_path / "results").mkdir()
    RunFolder.make(tmp_path / "results", "qemu").remove_if_empty()
    assert (tmp_path / "results").is_dir()


def test_what_a_run_needs_only_while_it_lasts_goes(tmp_path: Path) -> None:
    run = RunFolder.make(tmp_path, "qemu")
    run.begin()
    (run.scratch / "disk").write_bytes(b"x")
    run.measurements.touch()
    run.finish()
    assert [path.name for path in run.path.iterdir()] == ["results.json"]


def test_no_place_for_results(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TzmlError, match="cannot write results to"):
        RunFolder.make(tmp_path / "file", "qemu")
