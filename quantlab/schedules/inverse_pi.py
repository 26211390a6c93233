"""InversePi: a sharpness that grows with the sum of the step sizes."""

from dataclasses import dataclass

from quantlab.schedules.base import Schedule, set_nonnegative
from quantlab.schedules.constant import set_schedule


@dataclass(frozen=True)
class InversePi(Schedule):
    """rho_t = rho0 (1 + eta_0 + ... + eta_{t-1}), the theory's 1/pi_t growth.

    Source: ProxConnect paper, equations (28)-(29). The value starts at rho0. For eta = 1 / B the
    schedule equals `Linear`. The paper's 1 / pi_{t-1} is the same sum without the constant eta_0.
    """

    rho0: float
    """The value at step 0, >= 0, in the unit of the weights."""
    eta: Schedule
    """The step sizes eta_t, usually the learning rate of the recipe."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "rho0")
        set_schedule(self, "eta")

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return rho0 times one plus the sum of the step sizes before `step`."""
        return self.rho0 * (1 + self.eta.cumulative(step, steps_per_epoch))
