"""`tzml bench`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path

import click

from tzml.bench.bench import Result, measure
from tzml.cli.child import Tell, in_child
from tzml.cli.options import completed
from tzml.cli.progress import told
from tzml.errors import TzmlError
from tzml_zoo import models

_LARGEST = 10_000_000_000
"""Multiply-accumulates of the largest network that is measured without being named."""


@click.command("bench")
@click.argument("models_or_names", metavar="[MODEL]...", nargs=-1, shell_complete=completed(models, file=True))
@click.option("--target", type=click.Choice(["host", "aarch64"]), default="host", show_default=True,
              help="host: CPU time on this machine; aarch64: instructions under QEMU.")  # fmt: skip
@click.option(
    "--cycles",
    is_flag=True,
    help="Of aarch64: also estimate a Cortex-A53's cycles and DRAM bytes; takes several times as long.",
)
@click.option("--repeat", default=10, show_default=True, type=click.IntRange(1), help="Inferences in each round.")
@click.option("--all", "also_large", is_flag=True, help="Without MODEL, measure the largest networks, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table as in docs/bench.md.")
def command(
    models_or_names: tuple[str, ...],
    target: str,
    cycles: bool,
    repeat: int,
    also_large: bool,
    as_json: bool,
    markdown: bool,
) -> None:
    """Compare networks with ONNX Runtime, PyTorch and LiteRT, each with one thread.

    MODEL is a file or the name of a network in the zoo. Without MODEL, the zoo is measured, but networks
    of over 10 billion multiply-accumulates only with --all.

    PyTorch and LiteRT are measured if they are installed. For AArch64, LiteRT is downloaded, and PyTorch is not
    measured. LiteRT runs the TFLite files that `tzml zoo convert` makes. The ratio is tzml's cost to that of ONNX
    Runtime: below 1, tzml is faster. docs/bench.md has results.
    """
    if cycles and target != "aarch64":
        raise TzmlError(f"--cycles estimates a Cortex-A53, and the target is {target}", "add --target aarch64")
    results = []
    names = models_or_names or tuple(chosen(also_large=also_large))
    for name in names:
        result = in_child(partial(_measure, name, target, repeat, cycles), name)
        results.append(result)
        if not as_json:
            _print(columns(result, target), header=len(results) == 1, markdown=markdown)
    if as_json:
        click.echo(json.dumps([{**asdict(r), "target": target, "ratio": r.ratio} for r in results], indent=1))
        return
    ratios = [result.ratio for result in results if result.ratio]
    if len(ratios) > 1:
        if markdown:
            click.echo()
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        click.echo(f"geometric mean of the ratios to ONNX Runtime: {mean:.2f}, largest: {max(ratios):.2f}")
    missing = [name for name in names if name in models() and not models()[name].tflite(make=False)]
    if missing:
        click.echo(
            f"LiteRT was not measured; make its TFLite files: tzml zoo convert {' '.join(missing)}", err=True
        )


def chosen(*, also_large: bool) -> list[str]:
    """The networks that are measured if none is named."""
    return [name for name, model in models().items() if also_large or model.macs <= _LARGEST]


def _measure(name: str, target: str, repeat: int, cycles: bool, tell: Tell) -> Result:
    # instructions are counted of kernels for a Cortex-A57, and cycles estimated of those for a Cortex-A53
    compiler_target = {"aarch64": "rpi3" if cycles else "qemu"}.get(target, target)
    zoo = models().get(name)
    if zoo:
        tflite = zoo.tflite(make=False)
        return measure(zoo.onnx(), name, compiler_target, repeat, zoo.macs, tflite, told(tell), cycles)
    path = Path(name)
    if not path.exists():
        raise TzmlError(f"{name} is neither a file nor a network in the zoo", f"the zoo has {', '.join(models())}")
    return measure(path, path.stem, compiler_target, repeat, progress=told(tell), estimated=cycles)


def columns(result: Result, target: str) -> dict[str, str]:
    """A row of the table: formatted cells by column name."""
    unit, scale = ("ms", 1e3) if target == "host" else ("Minstr", 1e-6)
    return {
        "model": f"{result.name:20}",
        "MMACs": f"{result.macs / 1e6:9.1f}",
        "weights": f"{result.weights:12,}",
        "arena": f"{result.arena:11,}",
        unit: f"{result.ours * scale:10.3f}",
        "onnxruntime": _cell(result.onnxruntime, scale, "11.3f"),
        "ratio": _cell(result.ratio, 1, "5.2f"),
        **({"pytorch": _cell(result.pytorch, scale, "10.3f")} if target == "host" else {}),
        "litert": _cell(result.litert, scale, "10.3f"),
        "instr/MAC": f"{result.ours / result.macs:9.3f}" if target != "host" and result.macs else f"{'-':>9}",
        **_estimates(result),
        "compile s": f"{result.compile_seconds:9.1f}",
        "difference": _cell(result.difference, 1, "10.1e"),
        "to litert": _cell(result.litert_difference, 1, "9.1e"),
        "of": f"{result.magnitude:8.1e}",
    }


def _estimates(result: Result) -> dict[str, str]:
    """Cells of what was estimated: of every runtime that can be, or none."""
    if not result.cycles:
        return {}
    per_mac = result.cycles["ours"] / result.macs if result.macs else None
    cells = {"Mcycles": _cell(result.cycles["ours"], 1e-6, "9.3f"), "cycles/MAC": _cell(per_mac, 1, "10.3f")}
    cells["DRAM MB"] = _cell(result.dram_bytes["ours"], 1e-6, "8.2f")
    for who in ("onnxruntime", "litert"):
        cells[f"{who} Mcycles"] = _cell(result.cycles.get(who), 1e-6, f"{len(who) + 8}.3f")
        cells[f"{who} DRAM MB"] = _cell(result.dram_bytes.get(who), 1e-6, f"{len(who) + 8}.2f")
    return cells


def _print(columns: dict[str, str], *, header: bool, markdown: bool) -> None:
    names = [f"{name:20}" if name == "model" else f"{name:>{len(cell)}}" for name, cell in columns.items()]
    rows = [names, ["---" for _ in names]] if markdown else [names]
    for cells in [*(rows if header else []), list(columns.values())]:
        click.echo(f"| {' | '.join(map(str.strip, cells))} |" if markdown else "  ".join(cells))


def _cell(value: float | None, scale: float, form: str) -> str:
    """The scaled number in the format `form`, or a dash if it was not measured."""
    return f"{'-':>{form.split('.')[0]}}" if value is None else f"{value * scale:{form}}"
