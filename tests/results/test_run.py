from __future__ import annotations

from pathlib import Path

import pytest

from results.conftest import CASES, FAILED, MakeRun
from tzml.errors import TzmlError
from tzml.results.run import Tally, read_run


def test_the_lab_writes_what_the_report_reads(make_run: MakeRun) -> None:
    results = make_run(cases=CASES + FAILED)
    run = results.run
    assert run.tests == Tally(passed=2, failed=1, skipped=1)
    assert run.xtest == Tally(passed=1, failed=0, skipped=1)
    assert run.series["digits/tee/inference"].samples == [0.0052, 0.0053, 0.0051]
    assert run.models() == ["digits"]
    assert [name for name, _ in run.boot_stages()] == ["bl1", "login"]
    assert results.property("digits", "tee", "accuracy") == "0.984"
    [failure] = run.failures
    assert failure.failure_class == "boot"
    assert failure.message == "boot failure: no login prompt"


QUANTIZED = """\
<testcase classname="lab.test_inference" name="test_accuracy[digits_int8-tee]" time="0.1">
<properties><property name="accuracy" value="0.975" /></properties></testcase>
"""


def test_a_networks_name_may_begin_as_anothers(make_run: MakeRun) -> None:
    results = make_run(cases=QUANTIZED + CASES)
    assert results.property("digits", "tee", "accuracy") == "0.984"
    assert results.property("digits_int8", "tee", "accuracy") == "0.975"


def test_runs_are_comparable_on_the_same_board_with_the_same_kind_of_image(make_run: MakeRun) -> None:
    tonight = make_run(1).run.context
    assert tonight.comparable == make_run(0).run.context.comparable  # another build of the image
    other_image = tonight.image.model_copy(update={"feed": "yocto"})
    assert tonight.comparable != tonight.model_copy(update={"image": other_image}).comparable
    for change in ({"environment": "hikey"}, {"place": "pi-2"}, {"qemu": "7.2"}):
        assert tonight.comparable != tonight.model_copy(update=change).comparable


def test_an_emulator_is_as_fast_as_its_host(make_run: MakeRun) -> None:
    board, emulated = make_run(0).run.context, make_run(0, qemu="7.2").run.context
    faster = board.host.model_copy(update={"cpu": "Xeon"})
    assert board.comparable == board.model_copy(update={"host": faster}).comparable
    assert emulated.comparable != emulated.model_copy(update={"host": faster}).comparable


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("results.json", None, "has no results.json; give the folder of a run that finished"),
        ("results.json", "{", "results.json: file: Invalid JSON"),
        ("results.json", '{"format": 2, "context": {}, "series": {}}', "context.environment: Field required"),
        ("junit.xml", None, "has no junit.xml"),
        ("junit.xml", "<a>", "junit.xml is not JUnit XML"),
    ],
)
def test_a_folder_that_is_no_run(make_run: MakeRun, file: str, text: str | None, message: str) -> None:
    path = make_run().folder / file
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(TzmlError, match=message):
        read_run(path.parent)


def test_a_format_of_another_time(make_run: MakeRun) -> None:
    path = make_run().folder / "results.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 9'))
    with pytest.raises(TzmlError, match="format 9; this tzml knows format 2"):
        read_run(path.parent)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(TzmlError, match="there is no folder"):
        read_run(tmp_path / "nothing")
