"""`tzml run`, for use on the device."""

from __future__ import annotations

import json
import statistics
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tzml.bundle import SectionType, read_section
from tzml.client import ChunkLoads, Model, World, open_model
from tzml.client.image import dequantize, load_image, quantize, top
from tzml.errors import TzmlError
from tzml.metadata import Metadata, read_metadata
from tzml.protection import memory_warning

Array = NDArray[Any]


def load_array(path: Path) -> Array:
    """Read an array from a .npy file. Raises TzmlError."""
    try:
        array: Array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise TzmlError(
            f"{path} is not an array in NumPy's .npy format: {error}", "write it with numpy.save"
        ) from error
    return array


def save_array(path: Path, array: Array) -> None:
    """Write an array to a .npy file, whole or not at all. Raises TzmlError."""
    new = path.with_name(f"{path.name}.new.npy")
    try:
        np.save(new, array)
        new.replace(path)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        raise TzmlError(
            f"cannot write {path}: {error.strerror or error}", "give another file to --output"
        ) from error


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


@click.command("run")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("files", nargs=-1, metavar="[IMAGE]...", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--input", "inputs", multiple=True, metavar="[NAME=]FILE.npy",
              help="An input. NAME is needed if the model has several. "
              "With one input, several samples may be stacked along the first axis.")  # fmt: skip
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path),
              help="Write the first output to this .npy file.")  # fmt: skip
@click.option("--world", type=click.Choice([w.name for w in World]), default="tee", show_default=True,
              help="tee: the secure world; ree: this process.")  # fmt: skip
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, help="Number of runs.")
@click.option("--top", "count", type=click.IntRange(1), default=5, show_default=True,
              help="Number of labels to show, if the outputs have labels.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print outputs, times and memory as JSON, for scripts.")
def command(
    bundle: Path,
    files: tuple[Path, ...],
    inputs: tuple[str, ...],
    output: Path | None,
    world: str,
    repeat: int,
    count: int,
    as_json: bool,
) -> None:
    """Run the model in BUNDLE on this device, on each IMAGE or on arrays.

    Times are wall times of one inference, from handing over the input to receiving the output.
    """
    if bool(files) == bool(inputs):
        raise TzmlError("give either images or --input", "for example, tzml run MODEL.tzm IMAGE.jpg")
    with open_model(bundle, World[world]) as model:
        metadata = read_metadata(
            read_section(bundle, SectionType.metadata), {info.name: info.shape for info in model.inputs}
        )
        samples = _images(model, metadata, files) if files else _arrays(model, inputs)
        loaded = model.chunks()
        answers = [model.run(sample) for _ in range(repeat) for sample in samples]
        memory = model.memory()
        streamed = streaming(loaded, model.chunks(), len(answers))
        names = [info.name for info in model.outputs]

    seconds = [answer.seconds for answer in answers]
    last = answers[-len(samples) :]
    outputs = {name: np.concatenate([answer.outputs[name] for answer in last]) for name in names}
    best = {
        name: [top(dequantize(a.outputs[name], metadata.quantization.get(name)), labels, count) for a in last]
        for name, labels in metadata.labels.items()
    }
    if output:
        save_array(output, outputs[names[0]])
    warning = memory_warning() if world == "tee" else ""
    if as_json:
        report = {
            "bundle": str(bundle),
            "world": world,
            "outputs": {name: array.tolist() for name, array in outputs.items()},
            "top": best,
            "seconds": {**spread(seconds), "samples": seconds},
            "streaming": streamed,
            "memory": asdict(memory) | {"secure_peak": memory.secure_peak},
            "warning": warning,
        }
        click.echo(json.dumps(report))
        return
    for name, array in outputs.items():
        if name in best:
            _show_names(best[name], files)
        else:
            click.echo(f"{name}:\n{np.array2string(array, precision=4, suppress_small=True, threshold=100)}")
    times = spread(seconds)
    click.echo(f"{len(seconds)} inferences in the {world.upper()}: median {times['median'] * 1e3:.3f} ms, "
               f"MAD {times['mad'] * 1e3:.3f} ms")  # fmt: skip
    if streamed["bytes"]:
        click.echo(f"{streamed['bytes']:,} bytes of weights loaded in each, in {streamed['seconds'] * 1e3:.3f} ms")
    secure = f", secure memory at most {memory.secure_peak:,}" if world == "tee" else ""
    click.echo(f"bytes of arena {memory.arena:,}, weights {memory.weights:,}{secure}")
    if warning:
        click.echo(f"warning: {warning}", err=True)


def _show_names(best: list[list[tuple[str, float]]], files: tuple[Path, ...]) -> None:
    for i, rows in enumerate(best):
        click.echo(f"{files[i].name if files else f'sample {i}'}:")
        for label, probability in rows:
            click.echo(f"  {probability:7.2%}  {label}")


def _images(model: Model, metadata: Metadata, files: tuple[Path, ...]) -> list[dict[str, Array]]:
    """The model's input for each image. Raises TzmlError."""
    if len(model.inputs) != 1:
        raise TzmlError(
            "the model has several inputs, but images can be used only for one",
            "give --input NAME=FILE.npy for each",
        )
    (info,) = model.inputs
    if info.name not in metadata.images:
        raise TzmlError(
            f"the bundle does not say how an image becomes the input {info}",
            "compile the model with --preprocess, or give --input FILE.npy",
        )
    quantization = metadata.quantization.get(info.name)
    images = [load_image(file, metadata.images[info.name]) for file in files]
    return [{info.name: quantize(image, info.dtype, quantization)} for image in images]


def _arrays(model: Model, inputs: tuple[str, ...]) -> list[dict[str, Array]]:
    """The samples given by `--input`. Raises TzmlError."""
    named = {}
    for value in inputs:
        name, equals, file = value.partition("=")
        if not equals:
            name, file = model.inputs[0].name, value
        named[name] = load_array(Path(file))
    missing = [str(info) for info in model.inputs if info.name not in named]
    if missing:
        raise TzmlError(f"no array was given for {', '.join(missing)}", "give --input NAME=FILE.npy for each")
    first = model.inputs[0].name
    return [named | {first: part} for part in batch(model, named[first])]
