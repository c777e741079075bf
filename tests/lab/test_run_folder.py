from __future__ import annotations

from pathlib import Path

import pytest

from tzml.errors import TzmlError
from tzml_lab.results.run_folder import RunFolder


def test_a_run_has_a_folder_and_latest_leads_there(tmp_path: Path) -> None:
    first = RunFolder.named(tmp_path, "qemu")
    assert not first.path.exists()
    first.create()
    assert first.path.name.endswith("-qemu")
    assert (tmp_path / "latest").resolve() == first.path
    second = RunFolder.named(tmp_path, "qemu")  # within the same second
    second.create()
    assert second.path != first.path
    assert (tmp_path / "latest").resolve() == second.path


def test_what_a_run_needs_only_while_it_lasts_goes(tmp_path: Path) -> None:
    run = RunFolder.named(tmp_path, "qemu")
    run.create()
    (run.scratch / "disk").write_bytes(b"x")
    run.measurements.touch()
    run.finish()
    assert [path.name for path in run.path.iterdir()] == ["results.json"]


def test_no_place_for_results(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TzmlError, match="cannot write results to"):
        RunFolder.named(tmp_path / "file", "qemu").create()
