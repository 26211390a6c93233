"""ProxQuantEpochs: the sharpness of ProxQuant's public code."""

from dataclasses import dataclass

from quantlab.schedules.base import Schedule, set_nonnegative
from quantlab.schedules.constant import set_schedule


@dataclass(frozen=True)
class ProxQuantEpochs(Schedule):
    """rho = eta_t rate e in epoch e = 0, 1, ...: the schedule of ProxQuant's public code.

    Apart from the learning rate eta_t, the value is constant within an epoch. It is 0 in the first
    epoch, in which weights are not moved towards the quantization set. With a learning rate of 0.01
    and rate 1e-4, it grows by 1e-6 per epoch, the middle of the ProxConnect paper's grid for
    ProxQuant.
    """

    rate: float
    """Growth per epoch and unit of learning rate, >= 0 (`reg_rate` in ProxQuant's code)."""
    eta: Schedule
    """The learning rate eta_t, usually that of the recipe."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "rate")
        set_schedule(self, "eta")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the learning rate times `rate` times the epoch, which is counted from 0."""
        epoch = step // steps_per_epoch
        return self.eta.at(step, steps_per_epoch) * self.rate * epoch
