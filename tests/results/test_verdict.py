from __future__ import annotations

from typing import Any

import pytest

from results.conftest import SERIES, MakeRun
from tzml.results.run import Run, Selection
from tzml.results.verdict import BASELINE_MIN, Change, Verdict, baseline_of, verdicts

TONIGHT = 20


def verdict(run: Run, nights: list[Run], series: str) -> Verdict:
    [found] = [v for v in verdicts(run, nights) if v.series == series]
    return found


def test_a_night_like_the_others_is_no_regression(make_run: MakeRun, nights: list[Run]) -> None:
    found = verdicts(make_run(TONIGHT).run, nights)
    assert {v.change for v in found} == {Change.same}


@pytest.mark.parametrize(
    ("series", "factor", "change"),
    [
        ("digits/tee/inference", 1.2, Change.worse),
        ("digits/tee/inference", 1.03, Change.same),  # less than 5 %
        ("digits/tee/inference", 0.8, Change.better),
        ("digits/tee-to-ree", 1.2, Change.worse),
        ("digits/secure-peak", 1.02, Change.worse),  # memory has no noise
        ("digits/secure-peak", 1.005, Change.same),
    ],
)
def test_a_change_beyond_the_noise(
    make_run: MakeRun, nights: list[Run], series: str, factor: float, change: Change
) -> None:
    found = verdicts(make_run(TONIGHT, {series: factor}).run, nights)
    assert {v.series: v.change for v in found if v.change is not Change.same} == (
        {} if change is Change.same else {series: change}
    )
    assert [v.series for v in found if v.is_regression] == ([series] if change is Change.worse else [])


def test_a_noisy_board_is_allowed_its_noise(make_run: MakeRun) -> None:
    noise = [0.8, 1.2, 1.0, 0.9, 1.1, 1.15, 0.85, 1.0, 1.05, 0.95]
    nights = [make_run(n, {"boot/login": factor}).run for n, factor in enumerate(noise)]
    assert verdict(make_run(TONIGHT, {"boot/login": 1.3}).run, nights, "boot/login").change is Change.same
    assert verdict(make_run(TONIGHT, {"boot/login": 3}).run, nights, "boot/login").change is Change.worse


def test_one_odd_night_does_not_move_the_baseline(make_run: MakeRun, nights: list[Run]) -> None:
    nights[5] = make_run(5, {"boot/login": 100}).run
    found = verdict(make_run(TONIGHT, {"boot/login": 1.2}).run, nights, "boot/login")
    assert found.is_regression


def test_too_few_nights_to_tell(make_run: MakeRun, nights: list[Run]) -> None:
    run = make_run(TONIGHT, {"boot/login": 2}).run
    assert verdict(run, nights[: BASELINE_MIN - 1], "boot/login").change is Change.new
    assert verdict(run, nights[:BASELINE_MIN], "boot/login").change is Change.worse
    assert verdict(run, [], "boot/login").baseline is None


def test_only_earlier_runs_of_the_same_board_and_image_count(make_run: MakeRun, nights: list[Run]) -> None:
    assert baseline_of(make_run(TONIGHT).run, nights) == nights
    assert baseline_of(make_run(TONIGHT, board="hikey").run, nights) == []
    assert baseline_of(make_run(TONIGHT, place="another-pi").run, nights) == []
    assert baseline_of(nights[4], nights) == nights[:4]


def test_seconds_of_an_emulator_are_shown_and_not_judged(make_run: MakeRun) -> None:
    nights = [make_run(n, qemu="7.2").run for n in range(10)]
    slow = make_run(TONIGHT, {"boot/login": 2, "digits/tee-to-ree": 2}, qemu="7.2").run
    assert verdict(slow, nights, "boot/login").change is Change.worse
    assert not verdict(slow, nights, "boot/login").is_regression
    assert verdict(slow, nights, "digits/tee-to-ree").is_regression  # a ratio within one run


def test_a_model_that_is_no_longer_measured(make_run: MakeRun, nights: list[Run]) -> None:
    found = verdict(make_run(TONIGHT, {"digits/tee/inference": None}).run, nights, "digits/tee/inference")
    assert found.change is Change.missing
    assert found.is_regression


def test_another_part_of_xtest_is_not_missing(make_run: MakeRun, nights: list[Run]) -> None:
    assert not any(v.series == "xtest/part" for v in verdicts(make_run(TONIGHT, {"xtest/part": None}).run, nights))


def selected(*paths: str, **more: Any) -> dict[str, Any]:
    return Selection(paths=list(paths), **more).model_dump()


def test_a_partial_run_hides_no_lost_model(make_run: MakeRun) -> None:
    nights = [make_run(night, selection=selected()).run for night in range(10)]
    only_boot = {name: None for name in SERIES if not name.startswith("boot/")}
    part = make_run(10, only_boot, selection=selected("test_boot.py")).run
    assert baseline_of(part, nights) == []
    assert not any(v.is_regression for v in verdicts(part, nights))
    lost = make_run(11, {"digits/tee/inference": None}, selection=selected()).run
    assert [v.series for v in verdicts(lost, [*nights, part]) if v.is_regression] == ["digits/tee/inference"]


@pytest.mark.parametrize(
    "other",
    [selected("test_boot.py"), selected(keyword="boot"), selected(markers="slow"),
     selected(options={"xtest": "full"}), None],
)  # fmt: skip
def test_runs_of_another_selection_do_not_count(make_run: MakeRun, other: dict[str, Any] | None) -> None:
    nights = [make_run(night, selection=other).run for night in range(10)]
    assert baseline_of(make_run(TONIGHT, selection=selected()).run, nights) == []
    assert len(baseline_of(make_run(TONIGHT, selection=other).run, nights)) == 10


def test_an_interrupted_run_is_compared_with_nothing(make_run: MakeRun, nights: list[Run]) -> None:
    nothing = dict.fromkeys(SERIES)
    broken = [make_run(night, nothing, cases="", ended=1).run for night in range(12, 20)]
    assert not any(run.complete for run in broken)
    assert not any(v.is_regression for v in verdicts(broken[0], nights))
    lost = make_run(TONIGHT, {"digits/tee/inference": None}).run
    assert baseline_of(lost, [*nights, *broken]) == nights
    assert verdict(lost, [*nights, *broken], "digits/tee/inference").is_regression


def test_one_night_without_a_boot_hides_no_lost_model(make_run: MakeRun, nights: list[Run]) -> None:
    dead = make_run(12, dict.fromkeys(SERIES)).run
    lost = make_run(TONIGHT, {"digits/tee/inference": None}).run
    assert verdict(lost, [*nights, dead], "digits/tee/inference").is_regression
