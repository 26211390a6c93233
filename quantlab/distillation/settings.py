"""Distillation, the settings of a recipe that has a teacher."""

from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief
from quantlab.initial_weights import InitialWeights
from quantlab.models import ModelSpec
from quantlab.plain_values import require_instance, require_number
from quantlab.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A teacher, a finished network, whose outputs a network is trained to give.

    The loss is (1 - weight) times that of the task plus weight times the distance from the
    teacher's outputs for the same inputs: `Task.each_distillation_loss`, averaged over the batch.
    The teacher is in evaluation mode, and is not trained.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", section 2.
    """

    teacher: InitialWeights
    """The teacher's weights: `TrialWeights` for the final network of another trial, `WeightsFile`
    for a file."""
    model: ModelSpec | None = None
    """The teacher's network; None for the network of the recipe."""
    weight: float = 0.5
    """Share of the teacher in the loss, in (0, 1]. With 1, targets have no effect on training."""
    temperature: float = 1.0
    """Number T > 0 that divides the logits of both networks. In regression it must be 1."""

    def __post_init__(self) -> None:
        require_instance(self, "teacher", InitialWeights)
        if not self.teacher.are_trained:
            raise ConfigurationError(
                f"Distillation.teacher = {brief(self.teacher)}: must be the weights of a trained "
                "network, such as TrialWeights(...)"
            )
        if skipped := getattr(self.teacher, "skip", ()):
            raise ConfigurationError(
                f"{type(self.teacher).__name__}.skip = {brief(skipped)}: must be () for a teacher, "
                "so that all of its network is trained"
            )
        if self.model is not None:
            require_instance(self, "model", ModelSpec)
        weight = require_number(self, "weight", most=1.0, exclusive=True)
        temperature = require_number(self, "temperature", exclusive=True)
        object.__setattr__(self, "weight", float(weight))
        object.__setattr__(self, "temperature", float(temperature))

    def require_task(self, task: Task) -> None:
        """Check that the loss exists for a task.

        Args:
            task: the task of the recipe.

        Raises:
            ConfigurationError: if the task has no loss of distillation, or no temperature.
        """
        name = type(task).__name__
        if type(task).each_distillation_loss is Task.each_distillation_loss:
            raise ConfigurationError(
                f"Recipe.distillation: {name} has no loss of distillation; define its method "
                "each_distillation_loss, or set distillation = None"
            )
        if self.temperature != 1 and not task.has_temperature:
            raise ConfigurationError(
                f"Distillation.temperature = {self.temperature:g}: must be 1, because the loss of "
                f"{name} has no temperature"
            )
