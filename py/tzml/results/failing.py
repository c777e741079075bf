"""Since when tests fail, and which of them are flaky, from the history of comparable runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tzml.results.run import Case, Run

RECENT = 10


@dataclass(frozen=True)
class Record:
    """A test's outcomes in the last runs.

    Args:
        name: the test's
        case: its failure in the newest run; None if it did not fail there
        since: the first of the unbroken row of runs in which it failed; None if it did not fail in the newest
        failed: in how many of the last RECENT runs it failed
        ran: in how many of them it ran
        flaky: whether it failed, passed and failed again, or passed and failed and passed, in these runs; or failed
            in the newest run and passed when it was run again

    """

    name: str
    case: Case | None
    since: Run | None
    failed: int
    ran: int
    flaky: bool


def failing(run: Run, earlier: Sequence[Run]) -> list[Record]:
    """The record of each test that failed in a run, in its order. `earlier`: comparable runs, oldest first."""
    return [_record(case.name, case, [*earlier, run]) for case in run.failures]


def flaky(run: Run, earlier: Sequence[Run]) -> list[Record]:
    """The record of each flaky test that did not fail in a run, by name."""
    runs = [*earlier, run]
    names = {case.name for known in runs[-RECENT:] for case in known.failures}
    names -= {case.name for case in run.failures}
    return [record for name in sorted(names) if (record := _record(name, None, runs)).flaky]


def _record(name: str, case: Case | None, runs: Sequence[Run]) -> Record:
    """The record of a test; a run that skipped it says nothing about it."""
    ran = [run for run in runs if name not in run.skipped]
    outcomes = [any(failure.name == name for failure in run.failures) for run in ran]
    recent = outcomes[-RECENT:]
    changes = sum(before != after for before, after in pairwise(recent))
    since = None
    for run, failed in zip(reversed(ran), reversed(outcomes), strict=True):
        if not failed:
            break
        since = run
    rerun = case is not None and case.rerun == "passed"
    return Record(name, case, since if case else None, sum(recent), len(recent), changes >= 2 or rerun)
