"""The table at the end of `make demo`, from the results folder of a lab run."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from tzml.results.run import RunResults, Series, read_run


def load_report(folder: Path) -> Table:
    """The table of a run. Raises TzmlError if the run left no complete results."""
    results = read_run(folder)
    table = Table(title="tzml on QEMU", title_justify="left", show_header=False)
    table.add_column("what", style="bold")
    table.add_column("result")
    for name, series in results.run.boot_stages():
        table.add_row(f"boot: {name}", f"{series.median:.1f} s after power-on")
    table.add_section()
    table.add_row("xtest cases passed", _xtest(results))
    for model in results.run.models():
        table.add_section()
        for what, value in _inference(results, model):
            table.add_row(f"{model}: {what}", value)
    table.add_section()
    for what, name in (
        ("on the granted device", "sealed_granted"),
        ("with another device's grant", "sealed_other"),
    ):
        table.add_row(f"digits, sealed: {what}", results.recorded(name) or "not tested")
    return table


def _xtest(results: RunResults) -> str:
    tally = results.run.xtest
    return f"{tally.passed} of {tally.total} ({tally.failed} failed, {tally.skipped} skipped)"


def _inference(results: RunResults, model: str) -> list[tuple[str, str]]:
    series = results.run.series
    ratio = series[f"{model}/tee-to-ree"].median
    peak = series[f"{model}/secure-peak"].median
    accuracy = results.property(model, "tee", "accuracy")
    difference = results.property(model, "tee", "largest_difference")
    runtime = results.property(model, "tee", "compared_with") or "another runtime"
    return [
        ("accuracy on held-out samples, in the TEE", f"{float(accuracy):.1%}" if accuracy else "not measured"),
        (f"largest difference from {runtime}", _difference(difference)),
        ("an inference in the normal world", _milliseconds(series[f"{model}/ree/inference"])),
        ("an inference in the TEE", _milliseconds(series[f"{model}/tee/inference"])),
        ("TEE / normal world", f"{ratio:.2f}"),
        ("peak secure memory", f"{peak / 1024:.0f} KiB"),
    ]


def _difference(measured: str) -> str:
    if not measured:
        return "not measured"
    return f"{float(measured):.1e}" if float(measured) else "none"


def _milliseconds(series: Series) -> str:
    return f"{series.median * 1e3:.2f} ms (median of {series.n}, MAD {series.mad * 1e3:.2f} ms)"
