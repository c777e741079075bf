"""`tzml run`, for use on the device."""

from __future__ import annotations

import json
import logging
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tzml.bundle import SectionType, read_public, read_section
from tzml.cli.arrays import load_arrays, save_arrays
from tzml.cli.options import OutputFile, RealNumber
from tzml.client import ChunkLoads, Model, World, open_model
from tzml.client.image import inputs_of
from tzml.client.labels import best_of, listing
from tzml.errors import TzmlError, known_names
from tzml.files import check_output, is_stdout
from tzml.metadata import read_metadata
from tzml.printable import printable
from tzml.protection import CLEAR_WARNING, huk_warning, memory_warning

Array = NDArray[Any]
_log = logging.getLogger(__name__)


def batch(model: Model, array: Array) -> list[Array]:
    """Split the array, stacked along its first axis, into the inputs of one or more inferences."""
    info = model.inputs[0]
    many = len(model.inputs) == 1 and array.ndim == len(info.shape) and array.shape[1:] == info.shape[1:]
    if many and info.shape[:1] == (1,) and len(array) > 1:
        return [array[i : i + 1] for i in range(len(array))]
    return [array]


def spread(samples: list[float]) -> dict[str, float]:
    """Median and median absolute deviation."""
    median = statistics.median(samples)
    return {"median": median, "mad": statistics.median(abs(s - median) for s in samples)}


def streaming(before: list[ChunkLoads], after: list[ChunkLoads], inferences: int) -> dict[str, Any]:
    """What one inference loads on average: bytes and seconds in total, and for each chunk that it loads."""
    chunks = []
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        if loads := (new.loads - old.loads) / inferences:
            seconds = (new.seconds - old.seconds) / inferences
            chunks.append({"chunk": index, "loads": loads, "bytes": loads * new.size, "seconds": seconds})
    return {
        "bytes": round(sum(chunk["bytes"] for chunk in chunks)),
        "seconds": sum(chunk["seconds"] for chunk in chunks),
        "chunks": chunks,
    }


def programs(model: Model) -> list[dict[str, Any]]:
    """Who computes what: each program that ran, its world, the bytes that go in and out, and the mean seconds."""
    return [
        {
            "name": about.name,
            "world": about.world.name if about.world else None,
            "input_bytes": use.input_size,
            "output_bytes": use.output_size,
            "seconds": use.seconds / use.runs,
        }
        for about, use in zip(model.programs, model.program_use(), strict=True)
        if use.runs
    ]


@click.command("run")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("files", nargs=-1, metavar="[IMAGE]...", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]FILE",
              help="An input as .npy, or inputs by name as .npz. NAME is needed if the model has several. "
              "Samples of a single input may be stacked along the first axis.")  # fmt: skip
@click.option("-o", "--output", type=OutputFile(),
              help="Write all outputs to this .npz file, or the first one to this .npy file.")  # fmt: skip
@click.option("--grant", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The grant (.tzg) for a sealed bundle. Default: one that is appended to it.")  # fmt: skip
@click.option("--world", type=click.Choice([w.name for w in World]), default="tee", show_default=True,
              help="tee: the secure world; ree: this process.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Number of runs.")
@click.option("--top", "count", type=click.IntRange(1), default=5, show_default=True,
              help="Number of labels to show, if the outputs have labels.")  # fmt: skip
@click.option("--wait", type=RealNumber(0), default=0, metavar="SECONDS",
              help="Wait so long when OP-TEE has no room for another session.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print outputs, times and memory as JSON, for scripts.")
def command(
    bundle: Path,
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    output: Path | None,
    grant: Path | None,
    world: str,
    repeat: int,
    count: int,
    wait: float,
    as_json: bool,
) -> None:
    """Run the model in BUNDLE on this device, on each IMAGE or on arrays.

    Times are wall times of one inference, from handing over the input to receiving the output. The
    processor's time is this program's: what the secure world computes counts as the kernel's, and what
    tee-supplicant does is not counted. Linux samples which part is the kernel's, over milliseconds.
    """
    if bool(files) == bool(inputs):
        raise TzmlError("give either images or --input", "for example, tzml run MODEL.tzm IMAGE.jpg")
    if output:
        _check_output(output, bundle, files, inputs, as_json=as_json)
    with open_model(bundle, World[world], grant.read_bytes() if grant else None, wait=wait) as model:
        metadata = read_metadata(
            read_section(bundle, SectionType.metadata), {info.name: info.shape for info in model.inputs}
        )
        samples = inputs_of(files, model.inputs, metadata) if files else _arrays(model, inputs)
        _log.info(
            "opened %s in the %s: %s", bundle, world.upper(), ", ".join(map(str, model.inputs + model.outputs))
        )
        loaded = model.chunks()
        answers = [model.run(sample) for _ in range(repeat) for sample in samples]
        for number, answer in enumerate(answers):
            _log.info("inference %d: %.3f ms", number, answer.seconds * 1e3)
        memory, usage = model.memory(), model.usage()
        parts = programs(model)
        streamed = streaming(loaded, model.chunks(), len(answers))
        names = [info.name for info in model.outputs]
        policy = model.output_policy
        takes_clear = model.takes_clear

    seconds = [answer.seconds for answer in answers]
    last = answers[-len(samples) :]
    outputs = {name: np.concatenate([answer.outputs[name] for answer in last]) for name in names}
    best = {
        name: [
            best_of(a.outputs[name], labels, metadata.quantization.get(name), count, indices=policy.gives_indices)
            for a in last
        ]
        for name, labels in metadata.labels.items()
    }
    if output:
        save_arrays(output, outputs)
        if output.suffix != ".npz" and len(outputs) > 1:
            click.echo(
                f"tzml: warning: {output} has only {names[0]}; give a .npz file for all {len(names)} outputs",
                err=True,
            )
    warnings = [memory_warning()] if world == "tee" else []
    if world == "tee" and read_public(bundle).sealed:
        warnings.append(huk_warning())
    if takes_clear:
        warnings.append(CLEAR_WARNING)
    warning = " ".join(filter(None, warnings))
    if as_json:
        report = {
            "bundle": str(bundle),
            "world": world,
            "outputs": {name: array.tolist() for name, array in outputs.items()},
            "top": best,
            "seconds": {**spread(seconds), "samples": seconds},
            "cpu_seconds": {
                "user": usage.user_seconds / len(answers),
                "kernel": usage.kernel_seconds / len(answers),
                "samples": [answer.cpu_seconds for answer in answers],
            },
            "programs": parts,
            "streaming": streamed,
            "memory": asdict(memory) | {"secure_peak": memory.secure_peak, "normal_peak": usage.peak_memory},
            "warning": warning,
        }
        click.echo(json.dumps(report))
        return
    lines: list[str] = []
    for name, array in outputs.items():
        if name in best:
            lines += list(listing(best[name], [file.name for file in files]))
        else:
            lines += [f"{name}:", np.array2string(array, precision=4, suppress_small=True, threshold=100)]
    times = spread(seconds)
    lines.append(
        f"{len(seconds)} inferences in the {world.upper()}: median {times['median'] * 1e3:.3f} ms, "
        f"MAD {times['mad'] * 1e3:.3f} ms"
    )
    user, kernel = (seconds * 1e3 / len(answers) for seconds in (usage.user_seconds, usage.kernel_seconds))
    lines.append(f"mean CPU time {user + kernel:.3f} ms: user {user:.3f}, kernel {kernel:.3f}")
    if len(parts) > 1:
        lines += [
            f"  {part['name']} in the {part['world'].upper()}: {part['input_bytes']:,} bytes in, "
            f"{part['output_bytes']:,} out, mean {part['seconds'] * 1e3:.3f} ms"
            for part in parts
        ]
    if streamed["bytes"]:
        lines.append(
            f"{streamed['bytes']:,} bytes of weights loaded in each, in {streamed['seconds'] * 1e3:.3f} ms"
        )
    secure = f", secure memory at most {memory.secure_peak:,}" if world == "tee" else ""
    normal = f", normal memory at most {usage.peak_memory:,}"
    lines.append(f"bytes of arena {memory.arena:,}, weights {memory.weights:,}{secure}{normal}")
    click.echo(printable("\n".join(lines)), err=bool(output and is_stdout(output)))
    if warning:
        click.echo(f"warning: {warning}", err=True)


def _check_output(
    output: Path, bundle: Path, files: tuple[Path, ...], inputs: tuple[str, ...], *, as_json: bool
) -> None:
    """Raise TzmlError if writing the outputs would destroy something else."""
    arrays = [Path(part) for value in inputs for part in (value, value.partition("=")[2])]
    check_output(output, [bundle, *files, *arrays], "give another file to --output")
    if as_json and is_stdout(output):
        raise TzmlError("standard output cannot take both the JSON and the outputs", "give a file to --output")


def _arrays(model: Model, inputs: tuple[str, ...]) -> list[dict[str, Array]]:
    """The samples given by `--input`. Raises TzmlError."""
    named: dict[str, Array] = {}
    for value in inputs:
        name, file = _name_and_file(model, value)
        found = load_arrays(file)
        if isinstance(found, dict) and name:
            raise TzmlError(f"the arrays in {file} have names of their own", f"give --input {file}")
        for key, array in found.items() if isinstance(found, dict) else [(name or model.inputs[0].name, found)]:
            if key in named:
                raise TzmlError(f"the input {key} is given twice", "give it once")
            named[key] = array
    known = [info.name for info in model.inputs]
    for name in named:
        if name not in known:
            raise TzmlError(f"the model has no input {name}", known_names(name, known))
    missing = [str(info) for info in model.inputs if info.name not in named]
    if missing:
        raise TzmlError(
            f"no array was given for {', '.join(missing)}", "give --input NAME=FILE.npy for each, or a .npz file"
        )
    return [named | {known[0]: part} for part in batch(model, named[known[0]])]


def _name_and_file(model: Model, value: str) -> tuple[str, Path]:
    """The parts of `[NAME=]FILE`; a name may contain "=", and so may a file's. Raises TzmlError."""
    known = [info.name for info in model.inputs]
    name = max((name for name in known if value.startswith(f"{name}=")), key=len, default="")
    if not name and "=" in value and not Path(value).exists():
        wrong = value.partition("=")[0]
        raise TzmlError(f"the model has no input {wrong}", known_names(wrong, known))
    file = value.removeprefix(f"{name}=") if name else value
    return name, Path("/dev/stdin" if file == "-" else file)
