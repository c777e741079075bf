"""Training of an opened model, batch by batch and in epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tzml.bundle.content import Role
from tzml.client.description import TensorInfo
from tzml.client.model import Model
from tzml.errors import TzmlError

Array = NDArray[Any]


@dataclass(frozen=True)
class TrainingScore:
    """The mean loss of some examples, and how many answers were right.

    None stands for what the grant's output policy hides, and for right answers where the loss knows none.
    """

    loss: float | None
    correct: int | None
    examples: int

    @property
    def accuracy(self) -> float | None:
        """The share of right answers."""
        return None if self.correct is None else self.correct / self.examples


class LossError(TzmlError):
    """A loss that is no number; the parameters are those after the last good step."""


class Trainer:
    """Trains a model of a bundle that `tzml compile --train` made; the model's session has what is learned.

    Examples are stacked along the first axis, with the shape and dtype of the model's input behind it. Those of
    several inputs are a structured array, with a field for each. Targets are integers for a model with `labels`,
    and float32 for one with `targets`. Raises TzmlError if the bundle is for inference only.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._programs = {program.role: program for program in model.programs}
        if not {Role.infer, Role.accumulate, Role.update, Role.evaluate} <= set(self._programs):
            raise TzmlError(
                "the bundle has no programs to train with", "compile the model with `tzml compile --train`"
            )
        model.select(self._programs[Role.infer].entry)
        (answer,) = model.outputs
        model.select(self._programs[Role.accumulate].entry)
        self.target: TensorInfo
        *self._fields, self.target, _ = model.inputs
        self.examples = _together(self._fields)
        self.classes = answer.shape[-1] if self.target.dtype.kind == "i" else 0
        self.hidden = model.output_policy.gives_indices
        self.steps = 0

    @property
    def micro_batch(self) -> int:
        """Examples of one run."""
        return self.examples.shape[0]

    def check(self, examples: Array, targets: Array) -> tuple[Array, Array]:
        """The arrays as the model takes them. Raises TzmlError if they do not fit it."""
        wanted = f"{self.examples.dtype} [N, {', '.join(map(str, self.examples.shape[1:]))}]"
        if examples.dtype != self.examples.dtype or examples.shape[1:] != self.examples.shape[1:]:
            raise TzmlError(f"the model takes examples of {wanted}, not {_described(examples)}", "convert them")
        if not len(examples):
            raise TzmlError("there are no examples")
        if self.classes:
            targets = self._labels(targets)
        elif targets.dtype != self.target.dtype:
            raise TzmlError(
                f"the model takes targets of {self.target.dtype}, not {_described(targets)}", "convert them"
            )
        if targets.shape != (len(examples), *self.target.shape[1:]):
            raise TzmlError(
                f"there are {len(examples)} examples, and {self.target.name} of shape {list(targets.shape)}",
                f"give one {self.target.name.removesuffix('s')} an example, stacked along the first axis",
            )
        return examples, targets

    def _labels(self, labels: Array) -> Array:
        if labels.dtype.kind not in "iu":
            raise TzmlError(f"labels are integers, not {_described(labels)}", "give the numbers of the classes")
        wrong = np.flatnonzero((labels < 0) | (labels >= self.classes))
        if len(wrong):
            raise TzmlError(
                f"label {wrong[0]} is {labels.reshape(-1)[wrong[0]]}, and the model has {self.classes} classes",
                f"give numbers from 0 to {self.classes - 1}",
            )
        return labels.astype(self.target.dtype)

    def step(self, examples: Array, targets: Array, rate: float) -> TrainingScore:
        """Change the parameters by the gradient of the mean loss of a batch of any size; its loss before that.

        Raises LossError if the loss is no number. The batch is then forgotten.
        """
        return self._step(*self.check(examples, targets), rate)

    def noised_step(self, examples: Array, targets: Array, rate: float, batch_size: int) -> TrainingScore | None:
        """A step of a private model, by a batch that was drawn at random and may be empty; None for one that is.

        Gradients are divided by `batch_size`, the mean size of such batches: that of this one would tell of it.
        What `check` says of the examples must hold. An example that gives no numbers adds nothing.
        """
        score = self._run(Role.accumulate, examples, targets) if len(examples) else None
        self._update(rate, batch_size)
        self.steps += 1
        return score

    def _step(self, examples: Array, targets: Array, rate: float) -> TrainingScore:
        score = self._run(Role.accumulate, examples, targets)
        if score.loss is not None and not math.isfinite(score.loss):
            self._update(0.0, 0)
            raise LossError(
                f"the loss is {score.loss} in step {self.steps + 1}; the session keeps the parameters after step "
                f"{self.steps}",
                "train with a lower rate, or look for examples that are no numbers",
            )
        self._update(rate, len(examples))
        self.steps += 1
        return score

    def epoch(
        self,
        examples: Array,
        targets: Array,
        batch: int,
        rate: float,
        generator: np.random.Generator,
        progress: Callable[[int, int, float | None], None] = lambda *_: None,
    ) -> TrainingScore:
        """One pass over all examples, in batches of a new order: the mean of their losses, each before its step.

        `progress` is told the batches that are done, their number, and the loss of the last.
        """
        examples, targets = self.check(examples, targets)
        scores: list[TrainingScore] = []
        batches = math.ceil(len(examples) / batch)
        for score in self.steps_of(examples, targets, batch, rate, generator.permutation(len(examples))):
            scores.append(score)
            progress(len(scores), batches, score.loss)
        return together(scores)

    def steps_of(
        self, examples: Array, targets: Array, batch: int, rate: float, order: Array, done: int = 0
    ) -> Iterator[TrainingScore]:
        """Make the steps of a pass over examples that `check` gave, in that order, but for the first `done`."""
        for start in range(done * batch, len(examples), batch):
            chosen = order[start : start + batch]
            yield self._step(examples[chosen], targets[chosen], rate)

    def evaluate(self, examples: Array, targets: Array) -> TrainingScore:
        """The mean loss of examples, and the right answers among them. It changes nothing."""
        return self._run(Role.evaluate, *self.check(examples, targets))

    def _update(self, rate: float, batch_size: int) -> None:
        inputs = {"rate": np.array(rate, np.float32), "batch_size": np.array(batch_size, np.int32)}
        self.model.run(inputs, self._programs[Role.update].name)

    def _run(self, role: Role, examples: Array, targets: Array) -> TrainingScore:
        scores = []
        for part, own, count in self._micro_batches(examples, targets):
            inputs = {self.target.name: own, "count": np.array(count, np.int32)}
            inputs |= {f.name: part[f.name] if len(self._fields) > 1 else part for f in self._fields}
            outputs = self.model.run(inputs, self._programs[role].name).outputs
            loss = None if self.hidden else float(outputs["loss_sum"]) / count
            correct = None if self.hidden or "correct" not in outputs else int(outputs["correct"])
            scores.append(TrainingScore(loss, correct, count))
        return together(scores)

    def _micro_batches(self, examples: Array, targets: Array) -> Iterator[tuple[Array, Array, int]]:
        """As many as it takes; the last is filled up with zeros."""
        for start in range(0, len(examples), self.micro_batch):
            part, own = examples[start : start + self.micro_batch], targets[start : start + self.micro_batch]
            yield self._filled(part), self._filled(own), len(part)

    def _filled(self, part: Array) -> Array:
        missing = self.micro_batch - len(part)
        return np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) if missing else part


def _together(fields: Sequence[TensorInfo]) -> TensorInfo:
    """Examples of one input, or of several as one structured array."""
    if len(fields) == 1:
        return fields[0]
    dtype = np.dtype([(field.name, field.dtype, field.shape[1:]) for field in fields])
    return TensorInfo("examples", dtype, fields[0].shape[:1])


def together(scores: Sequence[TrainingScore]) -> TrainingScore:
    """The score of the examples of all of them."""
    examples = sum(score.examples for score in scores)
    losses = [score.loss * score.examples for score in scores if score.loss is not None]
    correct = [score.correct for score in scores if score.correct is not None]
    return TrainingScore(sum(losses) / examples if losses else None, sum(correct) if correct else None, examples)


def _described(array: Array) -> str:
    return f"{array.dtype} {list(array.shape)}"
