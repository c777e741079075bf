"""The report: measurements of runs, compared with earlier runs, in one HTML file without scripts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tzml.boards import huk_warning, memory_warning
from tzml.report import plots
from tzml.report.changes import Changes, changes_of
from tzml.report.units import NONE, duration, human, percent
from tzml.results.failing import RECENT, Record, failing, flaky
from tzml.results.run import Case, Run, RunResults, Series
from tzml.results.verdict import BASELINE_MIN, Change, Verdict, baseline_of, comparable_runs, verdicts

SLOWEST = 8
HISTORY_RUNS = 60
LAST_LINES = 40
# of a run's folder (docs/lab.md)
LOGS = ("consoles.log", "console-normal.log", "console-secure.log", "xtest.log")


@dataclass(frozen=True)
class Plot:
    """A plot on the page: its SVG, and a caption that also serves as alternative text."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Failure:
    """A failure: its record, the last lines of its log, and where that is; "" if there is none."""

    record: Record
    lines: str
    address: str


@dataclass(frozen=True)
class ReportSection:
    """The part of the page about one run."""

    results: RunResults
    warning: str
    huk_warning: str
    baseline: list[Run]
    verdicts: list[Verdict]
    changes_since: Changes | None
    failing: list[Failure]
    flaky: list[Record]
    skips: list[tuple[str, list[str]]]  # reason, names of tests
    logs: list[tuple[str, str]]  # name, address
    plots: list[Plot]
    history: list[Plot]

    @property
    def run(self) -> Run:
        return self.results.run

    @property
    def regressions(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.is_regression]

    @property
    def changes(self) -> list[Verdict]:
        """The figures that changed, the worst first."""
        order = (Change.missing, Change.worse, Change.better)
        found = [verdict for verdict in self.verdicts if verdict.change in order]
        return sorted(found, key=lambda v: (not v.is_regression, order.index(v.change), -(v.relative or 0)))

    @property
    def status(self) -> str:
        """The result of the run in one or two words."""
        if self.run.tests.failed:
            return "failed"
        if not self.run.complete:
            return "interrupted"
        if self.regressions:
            return "regression"
        return "passed" if self.run.tests.passed else "nothing ran"

    @property
    def inferences(self) -> list[tuple[str, str, Series, str]]:
        """For each model and world: model, label of the world, inference times, accuracy."""
        found = []
        for model in self.run.models():
            for world, (label, _) in plots.WORLDS.items():
                series = self.run.series.get(f"{model}/{world}/inference")
                if series:
                    accuracy = self.results.property(model, world, "accuracy")
                    found.append((model, label, series, f"{float(accuracy):.1%}" if accuracy else NONE))
        return found


def section_of(results: RunResults, history: Sequence[Run], page: Path | None = None) -> ReportSection:
    """The section about one run, compared with the runs in `history`.

    Args:
        results: the run
        history: all runs that are known
        page: the folder that the page will be in, from which its links lead to logs; None: the working directory

    """
    run = results.run
    earlier = comparable_runs(run, history)
    baseline = baseline_of(run, history)
    found = verdicts(run, history)
    with mpl.rc_context(plots.STYLE):
        return ReportSection(
            results,
            memory_warning(run.context.image.machine, run.context.image.memory_protected),
            huk_warning(run.context.image.huk),
            baseline,
            found,
            changes_of(run, earlier),
            [_failure(record, results.folder, page or Path()) for record in failing(run, earlier)],
            flaky(run, earlier),
            _skips(results.cases),
            [(name, _address(results.folder / name, page or Path())) for name in LOGS
             if (results.folder / name).is_file()],
            list(_plots(results)),
            list(_history_plots([*baseline[-HISTORY_RUNS:], run], found)),
        )  # fmt: skip


def render(sections: Sequence[ReportSection]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names and messages come from a target, which is not trusted
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"human": human, "percent": percent, "duration": duration}
    return environment.get_template("report.html.jinja").render(
        sections=sections, baseline_min=BASELINE_MIN, recent=RECENT, Change=Change, none_text=NONE
    )


def _failure(record: Record, folder: Path, page: Path) -> Failure:
    """A failure with its log, which is in the run's folder if it is anywhere."""
    assert record.case
    path = folder / record.case.log
    if not record.case.log or not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        return Failure(record, "", "")
    lines = path.read_text(errors="replace").splitlines()
    return Failure(record, "\n".join(lines[-LAST_LINES:]), _address(path, page))


def _address(path: Path, page: Path) -> str:
    """A link to a file that works as long as both stay where they are, relative to each other."""
    return quote(os.path.relpath(path.resolve(), page.resolve()))


def _skips(cases: Sequence[Case]) -> list[tuple[str, list[str]]]:
    """Skipped tests by reason, the most frequent first."""
    found: dict[str, list[str]] = {}
    for case in cases:
        if case.outcome == "skipped":
            found.setdefault(case.message or "no reason given", []).append(case.name)
    return sorted(found.items(), key=lambda reason: -len(reason[1]))


def _plots(results: RunResults) -> Iterable[Plot]:
    run = results.run
    if run.boot_stages():
        yield Plot(
            plots.boot(run),
            "Boot stages: median of all boots. The line extends from the earliest to the latest boot.",
        )
    if run.models():
        yield Plot(
            plots.inference(run),
            "Inference times: quartiles, median, and whiskers at 5 % and 95 % of the samples.",
        )
    ratios = _of_models(run, "tee-to-ree")
    if ratios:
        caption = (
            "TEE overhead: median time in the TEE divided by median time of the same kernels in the normal world."
        )
        yield Plot(plots.bars(ratios, "TEE time / normal-world time", reference=1.0), caption)
    peaks = _of_models(run, "secure-peak")
    if peaks:
        yield Plot(plots.bars(peaks, "secure memory"), "Peak secure memory: the most that a model took.")
    if run.xtest.total:
        cases = [(_xtest_name(case), case.seconds) for case in results.cases if case.is_xtest]
        slowest = sorted(cases, key=lambda case: -case[1])[:SLOWEST]
        yield Plot(
            plots.xtest(run.xtest, slowest), "xtest, OP-TEE's own test suite: outcomes, and its slowest cases."
        )


def _history_plots(runs: Sequence[Run], found: Sequence[Verdict]) -> Iterable[Plot]:
    if len(runs) < 2:
        return
    by_name = {verdict.series: verdict for verdict in found}
    for name in _history_order(runs[-1].series):
        verdict = by_name.get(name)
        suffix = f" ({percent(verdict.relative)})" if verdict and verdict.relative is not None else ""
        yield Plot(plots.history(runs, name, verdict), f"{name}{suffix}")
    if any(run.xtest.total for run in runs):
        yield Plot(plots.xtest_history(runs), "xtest cases")


def _history_order(names: Iterable[str]) -> list[str]:
    """The most important series first. Of the boot stages only the last is shown, which includes the others."""

    def rank(name: str) -> tuple[int, str]:
        kinds = ("/inference", "/tee-to-ree", "/secure-peak")
        return next((i for i, kind in enumerate(kinds) if name.endswith(kind)), len(kinds)), name

    return sorted((n for n in names if n == "boot/login" or not n.startswith(("boot/", "state/"))), key=rank)


def _of_models(run: Run, what: str) -> list[tuple[str, Series]]:
    return [(model, run.series[f"{model}/{what}"]) for model in run.models() if f"{model}/{what}" in run.series]


def _xtest_name(case: Case) -> str:
    return case.name.partition("[")[2].removesuffix("]")
