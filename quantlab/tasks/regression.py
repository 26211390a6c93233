"""Regression: squared error."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from quantlab.errors import ConfigurationError
from quantlab.tasks.base import LowerIsBetter, Metric, Task, described_outputs
from quantlab.tasks.divergence import widened


@dataclass(frozen=True)
class MeanSquaredError(LowerIsBetter):
    """Mean over examples and outputs of the squared distance from the target."""

    @property
    def name(self) -> str:
        """``"mean_squared_error"``."""
        return "mean_squared_error"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the outputs of each example."""
        return _squares(outputs, targets)


@dataclass(frozen=True)
class MeanAbsoluteError(LowerIsBetter):
    """Mean over examples and outputs of the distance from the target."""

    @property
    def name(self) -> str:
        """``"mean_absolute_error"``."""
        return "mean_absolute_error"

    def each(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the outputs of each example."""
        return _mean_of_each((outputs - targets).abs())


@dataclass(frozen=True)
class Regression(Task):
    """Mean squared error of (batch, num_outputs) outputs against targets of the same shape."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The mean squared error, and the mean absolute error."""
        return (MeanSquaredError(), MeanAbsoluteError())

    def each_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error of every example."""
        return _squares(outputs, targets)

    @property
    def has_temperature(self) -> bool:
        """Always false."""
        return False

    def each_distillation_loss(
        self, outputs: Tensor, teacher_outputs: Tensor, temperature: float
    ) -> Tensor:
        """Return the mean squared distance of every example's outputs from the teacher's."""
        return _squares(*widened(outputs, teacher_outputs))

    def require_outputs(
        self, model: nn.Module, outputs: object, targets: Tensor, num_outputs: int
    ) -> None:
        """Check that outputs and targets have one shape, and are floating-point numbers."""
        if not targets.is_floating_point():
            other = "Classification()" if targets.dim() == 1 else "LanguageModelling()"
            raise ConfigurationError(
                f"Regression: targets have the type {targets.dtype}; must be floating-point "
                f"numbers, so choose another task, such as {other}, or other targets"
            )
        if isinstance(outputs, Tensor) and outputs.shape == targets.shape:
            return
        raise ConfigurationError(
            f"{type(model).__name__}.forward returned {described_outputs(outputs)} for "
            f"{len(targets)} examples; must return a tensor of shape {tuple(targets.shape)}, as "
            "the targets have"
        )


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    return _mean_of_each(torch.square(outputs - targets))


def _mean_of_each(distances: Tensor) -> Tensor:
    """Return the mean over the outputs of each example, of which there may be one without axes."""
    return distances.reshape(len(distances), -1).mean(dim=1)
