"""The schedules of a quantization as functions of the gradient step, which can be pickled."""

from dataclasses import dataclass

from quantlab.errors import ConfigurationError
from quantlab.quantizers import Quantizer
from quantlab.remembering import remembering
from quantlab.schedules import Constant, Schedule, StepFunction, value_at
from quantlab.settings.quantization import Averaging, Quantization, pull_at


@dataclass(frozen=True, eq=False)
class AtStep:
    """A schedule as a function of the step. Functions of two weight groups are never equal."""

    schedule: Schedule
    steps_per_epoch: int
    field: str
    """Name of the schedule in messages."""

    def __call__(self, step: int) -> float:
        """Return the value at a step; see `value_at`."""
        return value_at(self.schedule, step, self.steps_per_epoch, self.field)


@dataclass(frozen=True, eq=False)
class NoAnnealing:
    """The sharpness of maps that have none."""

    def __call__(self, step: int) -> float:
        """Return 0."""
        return 0.0


@dataclass(frozen=True, eq=False)
class PullAtStep:
    """The pull theta_t as a function of the step."""

    schedule: Schedule
    steps_per_epoch: int

    def __call__(self, step: int) -> float:
        """Return the pull of a step; see `pull_at`."""
        return pull_at(self.schedule, step, self.steps_per_epoch)


@dataclass(frozen=True, eq=False)
class AveragingWeight:
    """The weight eta_t of the iterates, which is 0 before the averaging starts."""

    averaging: Averaging
    steps_per_epoch: int

    @property
    def first_step(self) -> int:
        """The first step whose iterate is averaged."""
        return self.averaging.start_epoch * self.steps_per_epoch

    def __call__(self, step: int) -> float:
        """Return the weight of a step."""
        if step < self.first_step:
            return 0.0
        weight = self.averaging.weight
        return value_at(weight, step, self.steps_per_epoch, "quantization.averaging.weight")


def sharpness_of(
    quantization: Quantization, quantizer: Quantizer, own: Schedule | None, steps_per_epoch: int
) -> StepFunction:
    """Return the sharpness of weights with a quantizer.

    Args:
        quantization: quantization of all weights.
        quantizer: quantizer of these weights.
        own: schedule of these weights; None for that of all.
        steps_per_epoch: number of gradient steps per epoch.
    """
    if not (quantizer.annealed or quantization.backward.annealed):
        return NoAnnealing()
    return AtStep(own or quantization.sharpness, steps_per_epoch, "quantization.sharpness")


def require_end(sharpness: StepFunction, last_step: int) -> None:
    """Check the sharpness of the step after the last one, which no gradient is computed at.

    Args:
        sharpness: function of the step that `sharpness_of` returned.
        last_step: the number of gradient steps.

    Raises:
        ConfigurationError: see `value_at`.
    """
    try:
        sharpness(last_step)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error}; the weights after the last step are mapped with the sharpness of the next, "
            f"so it must have steps 0 to {last_step}"
        ) from error


def pull_of(
    pull: Schedule | None, steps_per_epoch: int, last_step: int
) -> StepFunction | float | None:
    """Return the pull in the form that the optimizer takes.

    Args:
        pull: see `Quantization.pull`.
        steps_per_epoch: number of gradient steps per epoch.
        last_step: a step at which the pull is tried, besides the first.

    Raises:
        ConfigurationError: if the pull exceeds 1 at the first or the last step.
    """
    if pull is None or isinstance(pull, Constant):
        return None if pull is None else pull.value
    share = PullAtStep(pull, steps_per_epoch)
    share(0)
    share(last_step)
    return share


@remembering(32)
def require_pull(pull: Schedule | None, steps_per_epoch: int, last_step: int) -> None:
    """Check the pull at all steps. A million of them take seconds, once for trials with equal ones.

    Args:
        pull: see `Quantization.pull`.
        steps_per_epoch: number of gradient steps per epoch.
        last_step: the last step whose pull is used.

    Raises:
        ConfigurationError: if the pull exceeds 1 at one of the steps.
    """
    if pull is not None and not isinstance(pull, Constant):
        for step in range(last_step + 1):
            pull_at(pull, step, steps_per_epoch)


def averaging_of(
    averaging: Averaging | None, steps_per_epoch: int, num_steps: int | None = None
) -> StepFunction | None:
    """Return the weight of the iterates.

    Args:
        averaging: see `Quantization.averaging`.
        steps_per_epoch: number of gradient steps per epoch.
        num_steps: number of all steps; None if it is not known.

    Raises:
        ConfigurationError: if no iterate would be averaged.
    """
    if averaging is None:
        return None
    weight = AveragingWeight(averaging, steps_per_epoch)
    if num_steps is not None and not any(map(weight, range(weight.first_step, num_steps))):
        raise ConfigurationError(
            f"Averaging.weight = {averaging.weight!r}: must be positive at some step from epoch "
            f"{averaging.start_epoch} on, otherwise no iterate is averaged"
        )
    return weight
