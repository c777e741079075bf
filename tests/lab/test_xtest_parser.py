"""The parser on recorded runs of all of xtest's regression suite."""

from __future__ import annotations

import gzip
from itertools import chain

import pytest

from tzml_lab.environment import ROOT
from tzml_lab.xtest import cases as xtest_cases
from tzml_lab.xtest.parser import XtestOutcome, XtestParser, XtestTotal

LOGS = sorted((ROOT / "tests/lab/data").glob("xtest-*.log.gz"))


def lines_of(version: str) -> list[str]:
    path = ROOT / f"tests/lab/data/xtest-{version}.log.gz"
    return gzip.decompress(path.read_bytes()).decode().splitlines()


VERSIONS = [path.name.removeprefix("xtest-").removesuffix(".log.gz") for path in LOGS]
LINES = {version: lines_of(version) for version in VERSIONS}


def parse(lines: list[str]) -> XtestParser:
    """Each line comes a second after the one before."""
    parser = XtestParser()
    for seconds, line in enumerate(lines):
        parser.feed(line, float(seconds))
    return parser


@pytest.mark.parametrize("version", VERSIONS)
def test_whole_run(version: str) -> None:
    parser = parse(LINES[version])
    assert list(parser.cases) == xtest_cases.recorded_cases(version)
    assert {case.outcome for case in parser.cases.values()} == {XtestOutcome.ok, XtestOutcome.skipped}
    assert parser.totals["test case"] == XtestTotal(len(parser.cases), 0)
    subcases = sum(len(case.subcases) for case in parser.cases.values())
    assert 0 < subcases < parser.totals["subtest"].count
    assert parser.current is None


def test_details_of_a_case() -> None:
    parser = parse(LINES["4.5"])
    assert parser.cases["regression_1004"].title == "Test User Crypt TA"
    assert parser.cases["regression_1004"].seconds == 11.0
    assert list(parser.cases["regression_1009"].subcases.items()) == [
        ("regression_1009.1", XtestOutcome.ok),
        ("regression_1009.2", XtestOutcome.ok),
        ("regression_1009.3", XtestOutcome.ok),
        ("regression_1009.4", XtestOutcome.ok),
    ]
    assert "regression_4007_dh" in parser.cases


def test_a_case_that_only_skips_is_skipped() -> None:
    parser = parse(LINES["4.5"])
    skipped = [case for case in parser.cases.values() if case.outcome is XtestOutcome.skipped]
    names = [f"regression_{number}" for number in (1020, 1029, 1031, 1036, 1037, 1038, 1041)]
    assert [case.name for case in skipped] == names
    assert all("skip" in case.skip_reason for case in skipped)


def test_a_case_with_a_part_that_is_not_skipped_is_tested() -> None:
    parser = parse(
        """\
* regression_1036 Test PAuth
o regression_1036.1 PAuth NOP test
  skip test, no PAuth
  regression_1036.1 OK
o regression_1036.2 another
  regression_1036.2 OK
  regression_1036 OK
""".splitlines()
    )
    case = parser.cases["regression_1036"]
    assert case.outcome is XtestOutcome.ok
    assert list(case.subcases.values()) == [XtestOutcome.skipped, XtestOutcome.ok]


@pytest.mark.parametrize("version", VERSIONS)
def test_cut_off_anywhere_at_most_one_case_is_unfinished(version: str) -> None:
    lines = LINES[version]
    whole = parse(lines)
    parser = XtestParser()
    for seconds, line in enumerate(lines):
        parser.feed(line, float(seconds))
        unfinished = [case for case in parser.cases.values() if case.outcome is XtestOutcome.unfinished]
        assert unfinished == ([parser.current] if parser.current else [])
    assert parser.cases == whole.cases


NOISE = [
    "D/TC:? 0 tee_ta_close_session:461 csess 0xd3981460 id 1",
    "E/TC:? 0 Status: panicked",
    "E/TA:  TA_Panic:42 deliberately",
    "D/LD:  ldelf:168 ELF (12345678-5b69-11e4-9dbb-101f74f00099) at 0x40068000",
    "[   12.345678] random: crng init done",
]


@pytest.mark.parametrize("version", VERSIONS)
def test_lines_of_others_on_the_same_uart(version: str) -> None:
    lines = LINES[version]
    noisy = list(chain.from_iterable((line, NOISE[i % len(NOISE)]) for i, line in enumerate(lines)))
    quiet, loud = parse(lines), parse(noisy)
    assert loud.totals == quiet.totals
    assert {name: case.outcome for name, case in loud.cases.items()} == {
        name: case.outcome for name, case in quiet.cases.items()
    }
    assert all(case.lines == quiet.cases[name].lines for name, case in loud.cases.items())


FAILED = """\
* regression_1004 Test User Crypt TA
o regression_1004.1 AES encrypt
  regression_1004.1 OK
o regression_1004.2 AES decrypt
./host/xtest/regression_1000.c:620: xtest_teec_open_session(&session, &crypt_user_ta_uuid, NULL, &ret_orig) has an \
unexpected value: 0xffff000f = TEEC_ERROR_SECURITY, expected 0x0 = TEEC_SUCCESS
  regression_1004.2 FAILED
  regression_1004 FAILED
+-----------------------------------------------------
Result of testsuite regression:
regression_1004.2 FAILED first error at ./host/xtest/regression_1000.c:620
regression_1004 FAILED
+-----------------------------------------------------
2 subtests of which 1 failed
1 test case of which 1 failed
111 test cases were skipped
""".splitlines()


def test_failure() -> None:
    parser = parse(FAILED)
    case = parser.cases["regression_1004"]
    assert case.outcome is XtestOutcome.failed
    assert case.subcases["regression_1004.2"] is XtestOutcome.failed
    assert any("TEEC_ERROR_SECURITY" in line for line in case.lines)
    assert parser.totals == {"subtest": XtestTotal(2, 1), "test case": XtestTotal(1, 1)}


def test_a_failed_case_that_speaks_of_skipping_has_failed() -> None:
    lines = [
        "* regression_1020 Lockdep",
        " - 1020 -   skip test, feature not implemented",
        "  regression_1020 FAILED",
    ]
    assert parse(lines).cases["regression_1020"].outcome is XtestOutcome.failed


@pytest.mark.parametrize("index", range(len(FAILED)))
def test_a_line_that_is_lost_invents_no_success(index: int) -> None:
    """If a serial line loses bytes, a case may look unfinished or failed, but never passed."""
    parser = parse(FAILED[:index] + FAILED[index + 1 :])
    assert all(case.outcome is not XtestOutcome.ok for case in parser.cases.values())


def test_nearest_list_of_cases() -> None:
    known = xtest_cases.recorded_versions()
    assert xtest_cases.nearest_version(None) == known[-1]
    assert xtest_cases.nearest_version("1.0") == known[0]
    assert xtest_cases.nearest_version("99.1-3") == known[-1]
    for version in known:
        assert xtest_cases.nearest_version(f"{version}.0-1") == version


def test_filters_match_as_xtest_does() -> None:
    cases = ["regression_1001", "regression_4001", "pkcs11_1001"]
    assert xtest_cases.matching(cases, ()) == cases
    assert xtest_cases.matching(cases, ("1001",)) == ["regression_1001", "pkcs11_1001"]


def test_the_default_part_has_some_of_every_family() -> None:
    for version in xtest_cases.recorded_versions():
        cases = xtest_cases.recorded_cases(version)
        part = xtest_cases.matching(cases, xtest_cases.FILTERS["part"])
        assert {case[: len("regression_1")] for case in part} == {case[: len("regression_1")] for case in cases}
        assert len(part) < len(cases)
