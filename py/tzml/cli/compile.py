"""`tzml compile`."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from tzml.cli.child import in_child
from tzml.cli.compiled import Order, beside, structure, write_bundle
from tzml.cli.encrypted import ModelKey, key_options, opened_model
from tzml.cli.options import OutputFile, RealNumber, parse_size, weights_option
from tzml.cli.owner import OwnerSource, new_secret
from tzml.cli.stages import write_stages
from tzml.compiler import TARGETS, CompileOptions, InputSpec
from tzml.compiler.codegen.tuning_records import Tuning
from tzml.compiler.metadata import read_labels_file, read_preprocess_file
from tzml.compiler.passes.training.options import LOSSES, OPTIMIZERS, TrainOptions
from tzml.darknet.cfg import read_cfg
from tzml.darknet.data import read_data
from tzml.darknet.training import read_training
from tzml.errors import TzmlError
from tzml.files import check_output, is_stdout, write_file, written
from tzml.owner.keys import load_public
from tzml.signing import SignedLibrary, load_signing_key

_MICRO_BATCH = 8


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
@weights_option
@click.option("--data", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Data set of Darknet (.data, .dataset), whose names become the labels.")  # fmt: skip
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Text file with a name for each value of the output, one per line.")  # fmt: skip
@click.option("--secure-memory", default="8M", show_default=True, callback=parse_size, metavar="SIZE",
              help="Secure memory that the model may take, in bytes or with K or M. "
              "Weights that do not fit are streamed in each inference.")  # fmt: skip
@click.option("--tee", metavar="LAYERS",
              help="Run only these layers in the TEE, and the others in the normal world: 4:10, conv3..fc1, first, "
              "middle, last or all. `tzml inspect MODEL --layers` lists them (docs/partition.md).")  # fmt: skip
@click.option("--stages", metavar="STAGES",
              help="Make a bundle for each of several devices that follow each other, NAME-0.tzm, NAME-1.tzm and "
              "so on: their number, or the layers of each, as in 1:4,5:9 (docs/partition.md).")  # fmt: skip
@click.option("--train", "optimizer", type=click.Choice([*OPTIMIZERS, "cfg"]),
              help="Make a bundle that can also be trained, with this optimizer (docs/training.md); cfg: as the "
              "network's .cfg of Darknet says.")  # fmt: skip
@click.option("--loss", type=click.Choice(LOSSES), help="With --train: what is made small. Default: cross-entropy.")
@click.option("--micro-batch", type=click.IntRange(1, 4096), metavar="N",
              help="With --train: examples of one run, which make up batches. Default: 8.")  # fmt: skip
@click.option("--momentum", type=RealNumber(0, 1, max_open=True), help="With --train sgd. Default: 0.")
@click.option("--decay", type=RealNumber(0), help="With --train: of the weights (L2). Default: 0.")
@click.option("--clip", type=RealNumber(1e-6, 1e6), metavar="LENGTH",
              help="With --train: limit the gradient of each example to this length (L2).")  # fmt: skip
@click.option("--noise", type=RealNumber(2**-10, 256), metavar="MULTIPLIER",
              help="With --clip: make the training differentially private. Each update adds noise of this many "
              "clips to the sum of the gradients (docs/training.md).")  # fmt: skip
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
@key_options
@click.option("--seal", "sealer", type=OwnerSource(), metavar="FILE|URI",
              help="Seal the bundle at once with this private key of the owner, as `tzml seal --owner` does. The "
              "content key goes beside it (.tzk). Of an encrypted MODEL, nothing clear is written.")  # fmt: skip
@click.option("--seal-passphrase-file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="File whose first line is the passphrase of --seal, or the PIN of its token.")  # fmt: skip
@click.option("--clear", is_flag=True, help="Write a clear bundle, although MODEL is encrypted.")
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
    weights: str,
    data: Path | None,
    labels: Path | None,
    secure_memory: int,
    tee: str | None,
    stages: str | None,
    optimizer: str | None,
    loss: str | None,
    micro_batch: int | None,
    momentum: float | None,
    decay: float | None,
    clip: float | None,
    noise: float | None,
    freeze: tuple[str, ...],
    tuning: Path | None,
    name: str,
    model_version: int,
    model_id: UUID | None,
    owner: Path | None,
    key: ModelKey,
    sealer: str | None,
    seal_passphrase_file: Path | None,
    clear: bool,
    as_json: bool,
) -> None:
    """Compile the trained network MODEL into a bundle (.tzm).

    MODEL is a PyTorch (.pt2), ONNX, TFLite, Keras (.keras), TensorFlow (frozen .pb) or MXNet (-symbol.json) file,
    the folder of a TensorFlow SavedModel, or one of these that `tzml encrypt` encrypted (.tze). The format is
    recognised by its content.
    """
    if sum((sign_key is not None, kernels is not None, graph_only)) > 1:
        raise click.UsageError("--sign-key, --kernels and --graph-only exclude each other")
    if tee is not None and (kernels is not None or graph_only):
        raise click.UsageError("--tee needs --sign-key: the kernels of a part cannot be signed as a structure yet")
    if stages is not None and (tee is not None or optimizer is not None or kernels is not None or graph_only):
        raise click.UsageError("--stages does not go with --tee, --train, --kernels and --graph-only yet")
    given_for_training = {
        "loss": loss, "micro_batch": micro_batch, "momentum": momentum, "decay": decay, "clip": clip, "noise": noise
    }  # fmt: skip
    for_training = {k: v for k, v in given_for_training.items() if v is not None}
    if optimizer == "cfg":
        optimizer, for_training = _as_the_cfg_says(model, for_training)
    train = _training(optimizer, for_training, freeze)
    if train and (kernels is not None or graph_only):
        raise click.UsageError("--train does not go with --kernels and --graph-only yet")
    if graph_only and (sealer or clear):
        raise click.UsageError("--graph-only writes no bundle that could be sealed or clear")
    if sealer and clear:
        raise click.UsageError("--seal and --clear exclude each other")
    suffix = ".graph.json" if graph_only else ".sealed.tzm" if sealer else ".tzm"
    path = output or beside(model).with_suffix(suffix)
    if data and labels:
        raise click.UsageError("--data and --labels exclude each other")
    given = (model, sign_key, kernels, preprocess, data, labels, tuning, owner, *key.files)
    check_output(path, [file for file in given if file], "give another file to --output")
    if as_json and is_stdout(path):
        raise TzmlError("standard output cannot take both the JSON and the bundle", "give a file to --output")
    secret = new_secret(path.with_suffix(".tzk")) if sealer else None
    options = CompileOptions(
        target=target,
        signing_key=load_signing_key(sign_key) if sign_key else None,
        kernels=SignedLibrary.read(kernels) if kernels else None,
        rename=rename,
        inputs=inputs,
        preprocess=read_preprocess_file(preprocess) if preprocess else {},
        labels=read_labels_file(labels) if labels else read_data(data).names() if data else (),
        weights=weights,
        secure_memory=secure_memory,
        tee=tee,
        name=name,
        model_version=model_version,
        model_id=model_id,
        owner=load_public(owner) if owner else b"",
        tuning=Tuning.read(tuning, target) if tuning else None,
        train=train,
    )
    content_key = None
    with opened_model(model, key) as opened:
        if stages is not None:
            if opened or sealer:
                raise TzmlError(
                    "the stages of an encrypted model cannot be compiled yet", "seal each with `tzml seal`"
                )
            said = in_child(
                lambda tell: write_stages(model, options, stages, path, tell, as_json=as_json), str(model)
            )
            click.echo(said)
            return
        if opened and not (sealer or clear or graph_only):
            raise TzmlError(
                f"{model} is encrypted, and its bundle would be clear",
                "seal it with --seal OWNER, or accept that with --clear",
            )
        order = Order(model, options, path, opened, owner=sealer, passphrase=seal_passphrase_file, as_json=as_json)
        if graph_only:
            text, said = in_child(lambda tell: structure(order, tell), str(model))
            write_file(path, text)
        elif opened is None:
            said, content_key = in_child(lambda tell: write_bundle(order, tell), str(model))
        else:  # where it goes is open before the process can write nowhere else
            with written(path) as file:
                to_file = replace(order, file=file)
                said, content_key = in_child(lambda tell: write_bundle(to_file, tell), str(model))
    if secret and content_key:
        content_key.write(secret)
        said = said if as_json else f"{said}; {secret}: content key, to be kept secret"
    click.echo(said, err=is_stdout(path))


def _as_the_cfg_says(model: Path, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The optimizer of a network of Darknet, and its options but for those that are given."""
    how = read_training(read_cfg(model))
    micro_batch = min(_MICRO_BATCH, how.batch)
    return how.optimizer, {"momentum": how.momentum, "decay": how.decay, "micro_batch": micro_batch} | given


def _training(optimizer: str | None, given: dict[str, Any], freeze: tuple[str, ...]) -> TrainOptions | None:
    if given.get("momentum") and optimizer not in (None, "sgd"):
        raise click.UsageError("--momentum is for --train sgd")
    if given.get("noise") and not given.get("clip"):
        raise click.UsageError("--noise is measured in clips: give --clip too")
    if optimizer is not None:
        return TrainOptions(optimizer, freeze=freeze, **given)
    unused = [*given, *(["freeze"] if freeze else [])]
    if unused:
        raise click.UsageError(f"--{unused[0].replace('_', '-')} needs --train")
    return None
