"""`tzml train`: what a model of `tzml compile --train` learns from labelled examples."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from numpy.typing import NDArray

from tzml.cli.arrays import load_array
from tzml.cli.options import RealNumber
from tzml.cli.train_darknet import train_darknet
from tzml.client import Checkpoints, Plan, Trainer, Training, TrainingScore, World, open_model
from tzml.files import check_output

Array = NDArray[Any]
_FILE = click.Path(dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Epoch:
    """What one pass over the examples gave; the test examples are looked at after it. None is what is not known."""

    epoch: int
    loss: float | None
    accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float

    def __str__(self) -> str:
        def shown(name: str, loss: float | None, accuracy: float | None) -> str:
            parts = [] if loss is None else [f"{name}loss {loss:.4f}"]
            parts += [] if accuracy is None else [f"{name}accuracy {accuracy:.2%}"]
            return ", ".join(parts)

        parts = (shown("", self.loss, self.accuracy), shown("test ", self.test_loss, self.test_accuracy))
        return "; ".join([f"epoch {self.epoch}", *filter(None, parts), f"{self.seconds:.1f} s"])


@click.command("train")
@click.argument("bundle", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--images", type=_FILE,
              help="A .npy file: examples as the model takes them, stacked along the first axis.")  # fmt: skip
@click.option("--labels", type=_FILE,
              help="A .npy file: their classes as integers; for the loss mse, the right outputs.")  # fmt: skip
@click.option("--test-images", type=_FILE, help="Examples that are not trained on, to look at after each epoch.")
@click.option("--test-labels", type=_FILE, help="Their classes.")
@click.option("--epochs", default=1, show_default=True, type=click.IntRange(1), help="Passes over the examples.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1, 2**31 - 1),
              help="Examples of a step.")  # fmt: skip
@click.option("--rate", type=RealNumber(0, min_open=True), help="The learning rate.")
@click.option("--cfg", type=_FILE,
              help="A network's .cfg of Darknet: batches, steps and their rates are as it says.")  # fmt: skip
@click.option("--data", type=_FILE, help="With --cfg: a data set of Darknet (.data, .dataset).")
@click.option("--steps", type=click.IntRange(1), help="With --cfg: steps, instead of max_batches.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of the order of the examples.")
@click.option(
    "--checkpoint",
    type=_FILE,
    help="Save the state there (.tzs) at the beginning and after each epoch, for this device alone.",
)
@click.option(
    "--checkpoint-steps",
    default=0,
    type=click.IntRange(0),
    help="Save it also each time that so many steps are made.",
)
@click.option(
    "--resume", is_flag=True, help="Go on from the checkpoint, with the same examples, --batch and --seed."
)
@click.option(
    "--restart",
    is_flag=True,
    help="Train from the beginning, and give up the checkpoint that is there, or that the device has.",
)
@click.option(
    "--export", type=_FILE, help="Write the state at the end to a file (.tzs) for the grant's export key."
)
@click.option("--grant", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="The grant (.tzg) for a sealed bundle. Default: one that is appended to it.")  # fmt: skip
@click.option("--world", type=click.Choice([w.name for w in World]), default="tee", show_default=True,
              help="Where the model is trained: the secure world, or this process.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the epochs as JSON, for scripts.")
def command(
    bundle: Path,
    images: Path | None,
    labels: Path | None,
    test_images: Path | None,
    test_labels: Path | None,
    epochs: int,
    batch: int,
    rate: float | None,
    cfg: Path | None,
    data: Path | None,
    steps: int | None,
    seed: int,
    checkpoint: Path | None,
    checkpoint_steps: int,
    resume: bool,
    restart: bool,
    export: Path | None,
    grant: Path | None,
    world: str,
    as_json: bool,
) -> None:
    """Train BUNDLE, and tell loss and accuracy of each epoch.

    What was learned stays in the checkpoint, which only the device that wrote it opens, and in the export. Without
    either, it is gone when the command ends.

    With --cfg and --data, tell the loss, the processor's time and the memory of each step, as DarkneTZ does.
    """
    if cfg or data or steps:
        if not (cfg and data) or images or labels or test_images or rate:
            raise click.UsageError("--cfg and --data go together, without --images, --labels and --rate")
        if checkpoint or resume or restart or checkpoint_steps or export:
            raise click.UsageError("--cfg keeps no checkpoints yet, and exports nothing")
        train_darknet(bundle, cfg, data, steps, seed, World[world], grant, as_json=as_json)
        return
    if not (images and labels and rate):
        raise click.UsageError("give --images, --labels and --rate, or --cfg and --data")
    if (test_images is None) != (test_labels is None):
        raise click.UsageError("--test-images and --test-labels go together")
    if checkpoint is None and (resume or restart or checkpoint_steps):
        raise click.UsageError("--resume, --restart and --checkpoint-steps need --checkpoint")
    if resume and restart:
        raise click.UsageError("--resume and --restart are opposites")
    inputs = [path for path in (bundle, images, labels, test_images, test_labels, grant) if path]
    for output in filter(None, (checkpoint, export)):
        check_output(output, inputs)
    kept = Checkpoints(checkpoint, checkpoint_steps, resume, restart) if checkpoint else None
    examples = load_array(images), load_array(labels)
    held_out = (load_array(test_images), load_array(test_labels)) if test_images and test_labels else None
    found: list[Epoch] = []
    with open_model(bundle, World[world], grant.read_bytes() if grant else None) as model:
        trainer = Trainer(model)
        held_out = held_out and trainer.check(*held_out)
        training = Training(trainer, examples, Plan(epochs, batch, rate, seed), kept)
        if training.position.epoch > epochs:
            click.echo(f"tzml: {checkpoint} has all of {epochs} epochs; give more with --epochs", err=True)
        begin = time.monotonic()
        for number, score in training.epochs(_Progress(epochs)):
            test = trainer.evaluate(*held_out) if held_out else TrainingScore(None, None, 1)
            seconds = time.monotonic() - begin
            epoch = Epoch(number, score.loss, score.accuracy, test.loss, test.accuracy, seconds)
            found.append(epoch)
            if not as_json:
                click.echo(str(epoch))
            begin = time.monotonic()
        if export:
            model.save(export, note=training.note(), export=True)
    if as_json:
        click.echo(json.dumps({"world": world, "steps": trainer.steps, "epochs": list(map(asdict, found))}))


class _Progress:
    """One line on standard error that is written over, if that is a terminal."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def __call__(self, epoch: int, done: int, batches: int, loss: float | None) -> None:
        if sys.stderr.isatty():
            told = "" if loss is None else f", loss {loss:.4f}"
            line = f"epoch {epoch} of {self.epochs}: step {done} of {batches}{told}"
            click.echo("\r" + (line.ljust(72) if done < batches else " " * 72 + "\r"), err=True, nl=False)
