"""Training of one recipe: epochs, evaluation, records and checkpoints."""

from quantlab.training.run import TrainingRun

__all__ = ["TrainingRun"]
