"""`tzml compile`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from tzml.bundle import BOTH, Worlds
from tzml.cli.child import Tell, in_child
from tzml.cli.options import OutputFile, parse_size
from tzml.cli.progress import progress_bar, told
from tzml.compiler import TARGETS, CompileOptions, InputSpec, compile_model, model_structure
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.metadata import read_labels_file, read_preprocess_file
from tzml.compiler.passes.training.options import LOSSES, OPTIMIZERS, TrainOptions
from tzml.errors import TzmlError
from tzml.files import check_output, is_stdout, write_file
from tzml.owner.keys import load_public
from tzml.signing import SignedLibrary, load_signing_key


def parse_inputs(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, InputSpec]:
    inputs = {}
    for value in values:
        match = re.fullmatch(r"(.+)=([1-9]\d*(?:x[1-9]\d*)*)(?::([a-z0-9]+))?", value)
        if not match:
            raise click.BadParameter(f"{value!r} is not NAME=SHAPE[:DTYPE], as in image=1x3x224x224:float32")
        if match[1] in inputs:
            raise click.BadParameter(f"the input {match[1]} is given twice")
        inputs[match[1]] = InputSpec(tuple(map(int, match[2].split("x"))), match[3] or "")
    return inputs


def parse_names(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    names: dict[str, str] = {}
    for value in values:
        old, equals, new = value.rpartition("=")
        if not (equals and old and new):
            raise click.BadParameter(f"{value!r} is not OLD=NEW")
        if old in names:
            raise click.BadParameter(f"{old} is renamed twice")
        names[old] = new
    return names


@click.command("compile")
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", type=OutputFile(),
              help="Default: MODEL.tzm, beside MODEL; with --graph-only, MODEL.graph.json.")  # fmt: skip
@click.option("--target", type=click.Choice(sorted(TARGETS)), required=True, help="The device.")
@click.option(
    "--sign-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="RSA private key (PEM) with which the device's image was built. "
    "Without it, the bundle runs only in the normal world.",
)
@click.option(
    "--kernels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The model's kernels, compiled and signed by the builder of the image (`tzml sign-kernels`), instead of "
    "--sign-key. Anything else than what is compiled here is refused.",
)
@click.option("--graph-only", is_flag=True,
              help="Write only what the signer of the kernels must know: no numbers.")  # fmt: skip
@click.option("--rename", "rename", metavar="OLD=NEW", multiple=True, callback=parse_names,
              help="Another name for an input or output; names can be read in a sealed bundle, too.")  # fmt: skip
@click.option("--input", "inputs", metavar="NAME=SHAPE[:DTYPE]", multiple=True, callback=parse_inputs,
              help="Shape of an input, if the model leaves it open, as in image=1x3x224x224.")  # fmt: skip
@click.option("--preprocess", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="YAML or JSON file that says how an image becomes the input (docs/models.md).")  # fmt: skip
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Text file with a name for each value of the output, one per line.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="Secure memory that the model may take, in bytes or with K or M. "
              "Weights that do not fit are streamed in each inference.")  # fmt: skip
@click.option("--tee", metavar="LAYERS",
              help="Run only these layers in the TEE, and the others in the normal world: 4:10, conv3..fc1, first, "
              "middle, last or all. `tzml inspect MODEL --layers` lists them (docs/partition.md).")  # fmt: skip
@click.option("--train", "optimizer", type=click.Choice(OPTIMIZERS),
              help="Make a bundle that can also be trained, with this optimizer (docs/training.md).")  # fmt: skip
@click.option("--loss", type=click.Choice(LOSSES), help="With --train: what is made small. Default: cross-entropy.")
@click.option("--micro-batch", type=click.IntRange(1, 4096), metavar="N",
              help="With --train: examples of one run, which make up batches. Default: 8.")  # fmt: skip
@click.option("--momentum", type=click.FloatRange(0, 1, max_open=True), help="With --train sgd. Default: 0.")
@click.option("--decay", type=click.FloatRange(0), help="With --train: of the weights (L2). Default: 0.")
@click.option("--freeze", multiple=True, metavar="LAYERS",
              help="With --train: layers that stay as they are, named as in --tee. Repeatable.")  # fmt: skip
@click.option("--tuning", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File of schedules that `tzml tune` made for this target.")  # fmt: skip
@click.option("--name", default="", help="The model's name. Default: the file name without its suffix.")
@click.option("--model-version", default=1, show_default=True, type=click.IntRange(0, 2**63 - 1))
@click.option("--model-id", type=click.UUID, help="The model's identity, which all its versions share.")
@click.option(
    "--owner",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The owner's P-256 key (PEM, public or private): the identity follows from it and the name. "
    "Without it and --model-id, the model has none.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON about the bundle.")
def command(
    model: Path,
    output: Path | None,
    target: str,
    sign_key: Path | None,
    kernels: Path | None,
    graph_only: bool,
    rename: dict[str, str],
    inputs: dict[str, InputSpec],
    preprocess: Path | None,
    labels: Path | None,
    secure_memory: int,
    tee: str | None,
    optimizer: str | None,
    loss: str | None,
    micro_batch: int | None,
    momentum: float | None,
    decay: float | None,
    freeze: tuple[str, ...],
    tuning: Path | None,
    name: str,
    model_version: int,
    model_id: UUID | None,
    owner: Path | None,
    as_json: bool,
) -> None:
    """Compile the trained network MODEL into a bundle (.tzm).

    MODEL is a PyTorch (.pt2), ONNX, TFLite, Keras (.keras) or TensorFlow (frozen .pb) file, or the folder of a
    TensorFlow SavedModel. The format is recognised by its content.
    """
    if sum((sign_key is not None, kernels is not None, graph_only)) > 1:
        raise click.UsageError("--sign-key, --kernels and --graph-only exclude each other")
    if tee is not None and (kernels is not None or graph_only):
        raise click.UsageError("--tee needs --sign-key: the kernels of a part cannot be signed as a structure yet")
    given_for_training = {"loss": loss, "micro_batch": micro_batch, "momentum": momentum, "decay": decay}
    train = _training(optimizer, {k: v for k, v in given_for_training.items() if v is not None}, freeze)
    if train and (tee is not None or kernels is not None or graph_only):
        raise click.UsageError("--train does not go with --tee, --kernels and --graph-only yet")
    path = output or _beside(model).with_suffix(".graph.json" if graph_only else ".tzm")
    given = (model, sign_key, kernels, preprocess, labels, tuning, owner)
    check_output(path, [file for file in given if file], "give another file to --output")
    if as_json and is_stdout(path):
        raise TzmlError("standard output cannot take both the JSON and the bundle", "give a file to --output")
    options = CompileOptions(
        target=target,
        signing_key=load_signing_key(sign_key) if sign_key else None,
        kernels=SignedLibrary.read(kernels) if kernels else None,
        rename=rename,
        inputs=inputs,
        preprocess=read_preprocess_file(preprocess) if preprocess else {},
        labels=read_labels_file(labels) if labels else (),
        secure_memory=secure_memory,
        tee=tee,
        name=name,
        model_version=model_version,
        model_id=model_id,
        owner=load_public(owner) if owner else b"",
        tuning=Tuning.read(tuning, target) if tuning else None,
        train=train,
    )
    work = _write_structure if graph_only else _compile
    said = in_child(lambda tell: work(model, options, path, tell, as_json=as_json), str(model))
    click.echo(said, err=is_stdout(path))


def _training(optimizer: str | None, given: dict[str, Any], freeze: tuple[str, ...]) -> TrainOptions | None:
    if given.get("momentum") and optimizer not in (None, "sgd"):
        raise click.UsageError("--momentum is for --train sgd")
    if optimizer is not None:
        return TrainOptions(optimizer, freeze=freeze, **given)
    unused = [*given, *(["freeze"] if freeze else [])]
    if unused:
        raise click.UsageError(f"--{unused[0].replace('_', '-')} needs --train")
    return None


def _compile(model: Path, options: CompileOptions, path: Path, tell: Tell, *, as_json: bool) -> str:
    """Write the bundle; a line about it, or JSON."""
    warnings: list[str] = []

    def warn(what: str) -> None:
        warnings.append(what)
        click.echo(f"tzml: warning: {model}: {what}", err=True)

    with progress_bar(model.name) as show:
        bundle = compile_model(model, options, told(tell, show), warn=warn)
    bundle.write(path)
    # of a partitioned model, the part in the TEE
    memory = next((m for m in bundle.memories if m.worlds & Worlds.tee), bundle.memories[0])
    calls = sum(len(program.calls) for program in bundle.programs)
    if as_json:
        about = {
            "file": str(path),
            "bytes": bundle.size,
            "target": options.target,
            "worlds": ["tee", "ree"] if any(library.tee for library in bundle.libraries) else ["ree"],
            "kernel_calls": calls,
            "weights": memory.weights_size,
            "state": memory.state_size,
            "arena": memory.arena_size,
            "programs": [
                {"name": p.name, "worlds": [w.name for w in Worlds if w in p.worlds], "kernel_calls": len(p.calls)}
                for p in bundle.programs
            ],
            "secure_memory": bundle.secure_memory,
            "warnings": warnings,
        }
        return json.dumps(about, indent=1)
    worlds = "both worlds" if bundle.libraries[0].tee else "the normal world only"
    if any(program.worlds != BOTH for program in bundle.programs):
        inside = sum(len(p.calls) for p in bundle.programs if p.worlds == Worlds.tee)
        worlds = f"{inside} calls in the TEE and {calls - inside} in the normal world"
    state = f"state {memory.state_size:,}, " if memory.state_size else ""
    return (
        f"{path}: {bundle.size:,} bytes for {options.target}, {worlds}; {calls} kernel calls; "
        f"bytes of weights {memory.weights_size:,}, arena {memory.arena_size:,}, {state}"
        f"secure memory {bundle.secure_memory:,}"
    )


def _write_structure(model: Path, options: CompileOptions, path: Path, tell: Tell, *, as_json: bool) -> str:
    """Write the model's structure; a line about it, or JSON."""
    with progress_bar(model.name) as show:
        text = model_structure(model, options, told(tell, show)).write()
    write_file(path, text)
    if as_json:
        return json.dumps({"file": str(path), "bytes": len(text), "target": options.target}, indent=1)
    return f"{path}: {len(text):,} bytes, the structure for {options.target}, without numbers"


def _beside(model: Path) -> Path:
    """The bundle's path if none is given. Raises TzmlError."""
    known = model if model.stem.strip(".") else model.resolve()  # as in `tzml compile .`
    if not known.name:
        raise TzmlError(f"{model} is not a model", "give a model file, or the folder of a SavedModel")
    return known.with_suffix(".tzm")
