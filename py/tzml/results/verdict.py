"""Whether a run is slower, or takes more memory, than earlier runs on the same board.

A figure is compared with the medians of earlier runs. It has changed if its distance from their median exceeds both

- NOISE times their spread (median absolute deviation, scaled to a standard deviation), and
- the smallest change worth reporting (FLOOR), because a spread may be zero by chance.

With BASELINE_MIN runs of purely Gaussian noise, 0.6 % of figures are more than six such spreads away; with 20 runs,
0.02 % are (simulated). The floor makes both rarer.
"""

from __future__ import annotations

import collections
import enum
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tzml.results.run import Context, Run, Series

BASELINE_MIN = 8
BASELINE_MAX = 30  # a change that was accepted becomes the new normal within half as many runs
NOISE = 6.0
SCALE = 1.4826  # times MAD: standard deviation of Gaussian noise
FLOOR = {"s": 0.05, "ratio": 0.05, "bytes": 0.01}


class Change(enum.Enum):
    """How a figure changed."""

    worse = "worse"
    better = "better"
    same = "same"
    missing = "missing"  # most of the last runs measured this model, but this run did not
    new = "too few runs"


@dataclass(frozen=True)
class Verdict:
    """A figure of a run, compared with earlier runs.

    Args:
        series: its name
        unit: of `value`, `baseline` and `margin`
        value: the run's median; None if it is missing
        baseline: median of the earlier runs' medians; None if there are no earlier runs
        margin: the distance from the baseline that is tolerated
        runs: number of earlier runs that have this series
        change: how the figure changed
        judged: whether a change for the worse counts as a regression

    """

    series: str
    unit: str
    value: float | None
    baseline: float | None
    margin: float
    runs: int
    change: Change
    judged: bool

    @property
    def is_regression(self) -> bool:
        return self.judged and self.change in (Change.worse, Change.missing)

    @property
    def relative(self) -> float | None:
        """Relative change from the baseline: 0.1 is 10 % more. None without a value or baseline."""
        if self.value is None or not self.baseline:
            return None
        return self.value / self.baseline - 1


def comparable_runs(run: Run, history: Sequence[Run]) -> list[Run]:
    """The runs that this run may be compared with, oldest first: earlier, complete, with an equal `comparable`."""
    earlier = [
        known
        for known in history
        if known.digest != run.digest
        and known.complete
        and known.context.comparable == run.context.comparable
        and known.started < run.started
    ]
    return sorted(earlier, key=lambda run: run.started)


def baseline_of(run: Run, history: Sequence[Run]) -> list[Run]:
    """The last runs of those that this run may be compared with, oldest first."""
    return comparable_runs(run, history)[-BASELINE_MAX:]


def verdicts(run: Run, history: Sequence[Run]) -> list[Verdict]:
    """A verdict for each series of the run, and for each that it lacks although most of the last runs have it."""
    baseline = baseline_of(run, history)
    found = [
        _verdict(name, series, [known.series[name] for known in baseline if name in known.series], run.context)
        for name, series in sorted(run.series.items())
    ]
    recent = baseline[-BASELINE_MIN:]
    if run.complete and len(recent) == BASELINE_MIN:
        # most of them: one night that failed to boot must not hide what has been lost since
        counts = collections.Counter(name for known in recent for name in known.series)
        usual = {name for name, count in counts.items() if count > BASELINE_MIN / 2}
        for name in sorted(usual - set(run.series)):
            if name.startswith(("boot/", "state/", "xtest/")):
                continue  # these are missing if tests failed, or if another part of xtest was selected
            found.append(_missing(name, [known.series[name] for known in recent if name in known.series]))
    return found


def _verdict(name: str, series: Series, earlier: Sequence[Series], context: Context) -> Verdict:
    judged = _is_judged(series.unit, context)
    if not earlier:
        return Verdict(name, series.unit, series.median, None, 0, 0, Change.new, judged)
    medians = [known.median for known in earlier]
    baseline = statistics.median(medians)
    spread = SCALE * statistics.median(abs(median - baseline) for median in medians)
    margin = max(NOISE * spread, FLOOR[series.unit] * abs(baseline))
    change = Change.same
    if len(earlier) < BASELINE_MIN:
        change = Change.new
    elif series.median > baseline + margin:
        change = Change.worse
    elif series.median < baseline - margin:
        change = Change.better
    return Verdict(name, series.unit, series.median, baseline, margin, len(earlier), change, judged)


def _missing(name: str, earlier: Sequence[Series]) -> Verdict:
    baseline = statistics.median(known.median for known in earlier)
    return Verdict(name, earlier[0].unit, None, baseline, 0, len(earlier), Change.missing, True)


def _is_judged(unit: str, context: Context) -> bool:
    """An emulator's seconds depend on the load of its host, so they are shown but never judged."""
    return unit != "s" or context.qemu is None
