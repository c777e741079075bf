"""`tzml tune`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tzml.bench.candidates import count_instructions, measure_with, time_here
from tzml.bundle import Target
from tzml.cli.child import Tell, in_child
from tzml.cli.compile import parse_inputs
from tzml.cli.options import OutputFile, completed, parse_size
from tzml.cli.progress import progress_bar, told
from tzml.compiler import TARGETS, CompileOptions, InputSpec
from tzml.compiler.codegen.tuning_records import Tuning, Unit
from tzml.compiler.tuning.search import Measure, Tuned, tune_model
from tzml.errors import TzmlError
from tzml.files import check_output, is_stdout


def environments() -> Iterable[str]:
    """The labgrid environments that `--lg-env` completes."""
    try:
        from tzml_lab.environment import names
    except ModuleNotFoundError:  # the lab is an extra
        return ()
    return names()


@click.command("tune")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--target", type=click.Choice(sorted(TARGETS)), required=True, help="The device.")
@click.option("-o", "--output", type=OutputFile(),
              help="The file of schedules. Its entries are kept. Default: TARGET.tuning.json.")  # fmt: skip
@click.option(
    "--trials", default=32, show_default=True, type=click.IntRange(1), help="Schedules to try for each kernel."
)
@click.option("--lg-env", "environment", metavar="NAME", shell_complete=completed(environments, file=True),
              help="The labgrid environment of a board: measure its time instead of instructions.")  # fmt: skip
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="As for `tzml compile`.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="As for `tzml compile`. It decides how layers are split.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    model: Path,
    target: str,
    output: Path | None,
    trials: int,
    environment: str | None,
    inputs: dict[str, InputSpec],
    secure_memory: int,
    as_json: bool,
) -> None:
    """Search for faster schedules of the kernels of MODEL, for `tzml compile --tuning`.

    Each kernel is compiled in many ways and measured: by its instructions under QEMU, which are the same each
    time; by CPU time, if the target is this host; or by the time it takes on a board. An interrupted search
    resumes where it stopped.
    """
    path = output or Path(f"{target}.tuning.json")
    if path.exists() and (not path.is_file() or is_stdout(path)):
        raise TzmlError(
            f"{path} is not a regular file, which the search could resume from", "give another file to --output"
        )
    check_output(path, [model], "give another file to --output")
    unit: Unit = "seconds" if environment or TARGETS[target].processor != Target.aarch64 else "instructions"
    tuning = Tuning.read(path, target) if path.is_file() else Tuning(target, unit)
    if tuning.unit != unit:
        raise TzmlError(
            f"{path} has results in {tuning.unit}, but this search measures {unit}", "give another file with -o"
        )
    options = CompileOptions(target, inputs=inputs, secure_memory=secure_memory)

    def search(tell: Tell) -> list[Tuned]:
        with _measure(target, environment) as measure, progress_bar(model.name) as show:
            return tune_model(model, options, tuning, measure, trials, told(tell, show), lambda: tuning.write(path))

    found = in_child(search, str(model))
    if as_json:
        rows = [{"calls": kernel.calls, **kernel.record.model_dump(exclude={"trace"})} for kernel in found]
        click.echo(json.dumps({"file": str(path), "target": target, "unit": unit, "kernels": rows}, indent=1))
    else:
        _print(found, unit)
        click.echo(f"{path}: use it with tzml compile --target {target} --tuning {path}")


@contextmanager
def _measure(target: str, environment: str | None) -> Iterator[Measure]:
    """A function that measures kernels while the context is open."""
    cc = TARGETS[target].cc
    if environment:
        try:
            from tzml_lab.inference.board_kernels import on_board
        except ModuleNotFoundError as error:
            raise TzmlError("measuring on a board needs the lab", "pip install 'tzml[compile,lab]'") from error
        with on_board(environment) as run:
            yield measure_with(run, cc)
    elif TARGETS[target].processor == Target.aarch64:
        yield measure_with(count_instructions, cc)
    else:
        yield measure_with(time_here, cc)


def _print(found: Sequence[Tuned], unit: Unit) -> None:
    scale, name = (1e6, "µs") if unit == "seconds" else (1e-3, "1000 instr.")
    table = Table(box=None)
    table.add_column("kernel")
    for heading in ("calls", f"ours, {name}", "best found", "ratio"):
        table.add_column(heading, justify="right")
    tried = [kernel for kernel in found if kernel.record.trials]
    small = [kernel for kernel in found if not kernel.record.trials]
    rows = [(kernel.record.name, *_sums([kernel])) for kernel in tried]
    rows += [(f"{len(small)} with less than 0.5 % each", *_sums(small))] if small else []
    for label, calls, before, after in [*rows, ("all", *_sums(found))]:
        table.add_row(label, str(calls), f"{before * scale:,.1f}", f"{after * scale:,.1f}", f"{after / before:.3f}")
    Console(width=120).print(table)


def _sums(kernels: Sequence[Tuned]) -> tuple[int, float, float]:
    """Number of calls, and their total cost untuned and tuned."""
    return (
        sum(k.calls for k in kernels),
        sum(k.record.ours * k.calls for k in kernels),
        sum(k.record.best * k.calls for k in kernels),
    )
