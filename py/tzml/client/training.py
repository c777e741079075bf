"""A whole training, which goes on from a checkpoint where another session was stopped."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.client.trainer import LossError, Trainer, TrainingScore, together
from tzml.errors import TzmlError

Array = NDArray[Any]

_NOTE = struct.Struct("<4sIIIQQQdq")
_MAGIC = b"TZT1"
_NONE = TrainingScore(None, None, 0)


@dataclass(frozen=True)
class Plan:
    """What is trained: passes over the examples, examples of a step, learning rate, seed of the examples' order."""

    epochs: int
    batch: int
    rate: float
    seed: int = 0


@dataclass(frozen=True)
class Position:
    """How far a training is: the epoch, from 1, its batches that are done and their score, and all steps."""

    epoch: int = 1
    done: int = 0
    steps: int = 0
    score: TrainingScore = _NONE

    def note(self, plan: Plan, examples: int) -> bytes:
        """What a checkpoint carries along, so that another session goes on as this one would have."""
        loss = math.nan if self.score.loss is None else self.score.loss
        correct = -1 if self.score.correct is None else self.score.correct
        return _NOTE.pack(_MAGIC, self.epoch, self.done, plan.batch, examples, plan.seed, self.steps, loss, correct)

    @staticmethod
    def of_note(note: bytes, plan: Plan, examples: int, path: Path) -> Position:
        """Raises TzmlError for a note of another program, or of a training with other batches."""
        magic, epoch, done, batch, count, seed, steps, loss, correct = _NOTE.unpack_from(note)
        if magic != _MAGIC:
            raise TzmlError(f"{path} was not saved by `tzml train`", "restore it where it was saved")
        for what, found, given in (
            ("--batch", batch, plan.batch), ("--seed", seed, plan.seed), ("examples", count, examples),
        ):  # fmt: skip
            if found != given:
                raise TzmlError(
                    f"{path} was saved in a training with {found} as {what}, and now there are {given}",
                    "go on with the same examples, --batch and --seed",
                )
        seen = min(done * batch, count)
        score = TrainingScore(None if math.isnan(loss) else loss, None if correct < 0 else correct, seen)
        return Position(epoch, done, steps, score)


@dataclass(frozen=True)
class Checkpoints:
    """Where a training is saved, and after how many steps, 0 for each epoch.

    `resume` goes on from the file; `restart` gives up that file and the device's checkpoint of the model.
    """

    path: Path
    every: int = 0
    resume: bool = False
    restart: bool = False

    def check(self) -> None:
        """Raises TzmlError if the file is there and neither option says what becomes of it, or if it is missing."""
        if self.resume and not self.path.exists():
            raise TzmlError(f"there is no checkpoint {self.path}", "leave --resume out to train from the beginning")
        if self.path.exists() and not self.resume and not self.restart:
            raise TzmlError(
                f"the checkpoint {self.path} exists", "go on from it (--resume), or give it up (--restart)"
            )


class Training:
    """Trains a model over some examples, and saves its state as it goes.

    Args:
        trainer: of an open model
        examples: as the model takes them, stacked along the first axis, and their targets
        plan: what is done with them
        checkpoints: where the state is saved; None: nowhere

    Raises RunError if the device does not save the model's state, or refuses the checkpoint that it should go on
    from; that is tried before the first step. Raises TzmlError for files that do not fit.

    """

    def __init__(
        self, trainer: Trainer, examples: tuple[Array, Array], plan: Plan, checkpoints: Checkpoints | None = None
    ) -> None:
        self.trainer, self.plan, self.checkpoints = trainer, plan, checkpoints
        self.examples, self.targets = trainer.check(*examples)
        self.batches = math.ceil(len(self.examples) / plan.batch)
        self.position = Position()
        self.saved: int | None = None  # the step that the file has
        if checkpoints:
            checkpoints.check()
            if checkpoints.resume:
                self._resume(checkpoints.path)
            else:
                self._save(give_up=checkpoints.restart)

    def epochs(
        self, progress: Callable[[int, int, int, float | None], None] = lambda *_: None
    ) -> Iterator[tuple[int, TrainingScore]]:
        """Make the epochs that are left: the number of each, and its mean loss, each batch's before its step.

        `progress` is told the epoch, the batches of it that are done, their number, and the loss of the last. An
        epoch is saved when the next is asked for, or the end. Raises LossError for a loss that is no number; the
        checkpoint is then the last before that.
        """
        generator = np.random.default_rng(self.plan.seed)
        for epoch in range(1, self.plan.epochs + 1):
            order = generator.permutation(len(self.examples))
            if epoch < self.position.epoch:
                continue
            try:
                self._epoch(epoch, order, progress)
                score = self.position.score
                self.position = Position(epoch + 1, 0, self.position.steps)
                if self.checkpoints:
                    self._save()
            except LossError as error:
                if self.saved is None:
                    raise
                assert self.checkpoints
                kept = f"{self.checkpoints.path} has the state after step {self.saved}"
                raise LossError(f"{error.args[0]}; {kept}", error.remedy) from error
            yield epoch, score

    def note(self) -> bytes:
        """What a checkpoint of the state as it is now carries along."""
        return self.position.note(self.plan, len(self.examples))

    def _epoch(self, epoch: int, order: Array, progress: Callable[[int, int, int, float | None], None]) -> None:
        done = self.position.done
        steps = self.trainer.steps_of(self.examples, self.targets, self.plan.batch, self.plan.rate, order, done)
        for score in steps:
            done += 1
            before = [self.position.score] if self.position.score.examples else []
            self.position = Position(epoch, done, self.position.steps + 1, together([*before, score]))
            progress(epoch, done, self.batches, score.loss)
            every = self.checkpoints.every if self.checkpoints else 0
            if every and self.position.steps % every == 0 and done < self.batches:
                self._save()

    def _save(self, give_up: bool = False) -> None:
        """Raises LossError for a state whose loss is no number: what is there is worth more."""
        assert self.checkpoints
        few = slice(self.trainer.micro_batch)
        loss = self.trainer.evaluate(self.examples[few], self.targets[few]).loss
        if loss is not None and not math.isfinite(loss):
            raise LossError(
                f"the loss is {loss} after step {self.position.steps}",
                "train with a lower rate, or check the examples",
            )
        self.trainer.model.save(self.checkpoints.path, note=self.note(), give_up=give_up)
        self.saved = self.position.steps

    def _resume(self, path: Path) -> None:
        found = self.trainer.model.restore(path)
        self.position = Position.of_note(found.note, self.plan, len(self.examples), path)
        self.trainer.steps = self.saved = self.position.steps
