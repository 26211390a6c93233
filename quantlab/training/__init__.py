"""Training of one recipe, from its initial weights to a quantized network."""

from quantlab.training.run import TrainingRun

__all__ = ["TrainingRun"]
