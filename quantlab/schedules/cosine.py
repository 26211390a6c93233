"""Cosine: a learning rate that is warmed up and then follows half a period of the cosine to 0."""

import math
from dataclasses import dataclass

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_count
from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class Cosine(Schedule):
    """Linear warm-up to `value`, then ``value (1 + cos(pi s)) / 2`` with s from 0 to 1, per step.

    With B steps per epoch, W = warmup_epochs B and T = epochs B, the value at step t is::

        value (t + 1) / W                                for t < W
        value (1 + cos(pi (t - W) / (T - W))) / 2        for W <= t < T
        0                                                for t >= T

    At step 0 it is value / W, or `value` without warm-up. It reaches `value` at step W - 1, and is
    `value` at step W, too. At the last step T - 1 it is about value (pi / (2 (T - W)))**2, which is
    small but positive; it is 0 in a stage after these epochs. Training on ImageNet in "Mirror
    Descent View for Neural Network Quantization" (Table 11) is ``Cosine(2.048, epochs=90,
    warmup_epochs=8)`` from random weights. The paper says "a small learning rate" for the
    beginning, and not which one.
    """

    value: float
    """The highest value, >= 0."""
    epochs: int
    """Number of epochs until the value is 0, warm-up included, >= 1. As a learning rate, it must
    not be less than the recipe's epochs over both stages."""
    warmup_epochs: int = 0
    """Number of epochs of the warm-up, less than `epochs`."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "value")
        require_count(self, "epochs", 1)
        require_count(self, "warmup_epochs", 0)
        if self.warmup_epochs >= self.epochs:
            raise ConfigurationError(
                f"Cosine.warmup_epochs = {self.warmup_epochs}: must be less than Cosine.epochs = "
                f"{self.epochs}"
            )

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the value of the warm-up or of the cosine."""
        warm, steps = self.warmup_epochs * steps_per_epoch, self.epochs * steps_per_epoch
        if step < warm:
            return self.value * ((step + 1) / warm)
        if step >= steps:
            return 0.0
        return self.value * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the arithmetic series and of the cosines."""
        warm, steps = self.warmup_epochs * steps_per_epoch, self.epochs * steps_per_epoch
        risen = min(step, warm)
        total = risen * (risen + 1) / (2 * warm) if warm else 0.0
        done = min(step, steps) - warm
        if done > 0:
            half = math.pi / (2 * (steps - warm))
            cosines = math.sin(done * half) * math.cos((done - 1) * half) / math.sin(half)
            total += (done + cosines) / 2
        return self.value * total
