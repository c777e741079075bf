"""Training: from a model to the programs that change its parameters (docs/training.md)."""

from tzml.compiler.passes.training.clipping import BOUND
from tzml.compiler.passes.training.options import TrainOptions
from tzml.compiler.passes.training.programs import EXAMPLES, TrainingProgram, for_examples, training_programs

__all__ = ["BOUND", "EXAMPLES", "TrainOptions", "TrainingProgram", "for_examples", "training_programs"]
