"""OP-TEE's own test suite. xtest runs once, and each of its cases is a test here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from labgrid import Target

from tzml_lab.drivers.strategy import TrustZoneStrategy
from tzml_lab.environment import image_of
from tzml_lab.labgrid_internals import environment_of
from tzml_lab.results.timings import Timings
from tzml_lab.target import shell_of
from tzml_lab.time_limits import scaled
from tzml_lab.xtest import cases as xtest_cases
from tzml_lab.xtest.parser import XtestOutcome, XtestTotal
from tzml_lab.xtest.run import XtestRun

pytestmark = pytest.mark.lg_feature("xtest")

# Seconds without a line. Under emulation, no case is silent for nearly as long.
SILENCE = 300


def recorded(config: pytest.Config) -> tuple[str, list[str]]:
    """The recorded version of xtest that is nearest to the image's, and its list of cases."""
    environment = environment_of(config)
    components = image_of(environment.config).components if environment else {}
    version = xtest_cases.nearest_version(components.get("xtest"))
    return version, xtest_cases.recorded_cases(version)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        filters = xtest_cases.FILTERS[metafunc.config.option.xtest]
        metafunc.parametrize("case", xtest_cases.matching(recorded(metafunc.config)[1], filters))


def selected(session: pytest.Session) -> tuple[str, ...]:
    """Arguments for xtest: the cases whose tests were selected."""
    items = [item for item in session.items if isinstance(item, pytest.Function)]
    chosen = [str(item.callspec.params["case"]) for item in items if item.originalname == "test_case"]
    filters = xtest_cases.FILTERS[session.config.option.xtest]
    whole = xtest_cases.matching(recorded(session.config)[1], filters)
    return filters if not chosen or chosen == whole else tuple(chosen)


@pytest.fixture(scope="module")
def xtest(
    request: pytest.FixtureRequest, target: Target, strategy: TrustZoneStrategy, run_folder: Path
) -> Iterator[XtestRun]:
    strategy.transition("tee")
    shell = shell_of(target)
    filters = selected(request.session)
    run = XtestRun(shell, strategy.record, filters, silence=scaled(SILENCE), log=run_folder / "xtest.log")
    yield run
    if not run.stop():
        strategy.suspect("xtest could not be stopped")


def test_case(xtest: XtestRun, case: str, request: pytest.FixtureRequest) -> None:
    result = xtest.case(case)
    if xtest.failure:
        pytest.skip(f"not run: {xtest.failure.what}")
    assert result, f"xtest ended with exit status {xtest.exit_status} without {case} having ended"
    request.node.user_properties += [("seconds", round(result.seconds, 3)), ("subcases", len(result.subcases))]
    if result.outcome is XtestOutcome.skipped:
        pytest.skip(result.skip_reason)
    assert result.outcome is XtestOutcome.ok, "\n".join(result.lines[-40:])


def test_totals(xtest: XtestRun, request: pytest.FixtureRequest, timings: Timings) -> None:
    """The totals of xtest itself agree, and it ran exactly the cases of the list."""
    xtest.finish()
    version, cases = recorded(request.config)
    expected = xtest_cases.matching(cases, xtest.filters)
    ran = xtest.parser.cases
    hint = f"lab/data has the cases of xtest {version}; `python -m tzml_lab.xtest.cases` makes a list for another"
    assert list(ran) == expected, hint
    assert xtest.parser.totals["test case"] == XtestTotal(len(expected), failed=0)
    assert xtest.parser.totals["subtest"].failed == 0
    assert xtest.exit_status == 0
    part = request.config.option.xtest
    if xtest.filters == xtest_cases.FILTERS[part]:  # of other selections there is nothing to compare with
        timings.add(f"xtest/{part}", [sum(case.seconds for case in ran.values())])
