"""Linear: growth by the same amount at every step, the ProxConnect paper's sharpness."""

from dataclasses import dataclass

from quantlab.plain_values import require_count
from quantlab.schedules.base import Schedule, set_nonnegative


@dataclass(frozen=True)
class Linear(Schedule):
    """rho_t = (1 + t / B) rho0, the schedule of the ProxConnect paper's experiments (section 6.1).

    By default, B is the number of gradient steps per epoch. Then rho grows by rho0 in each epoch,
    in equal parts at every gradient step.
    """

    rho0: float
    """The value at step 0, >= 0, in the unit of the weights."""
    period: int | None = None
    """Number B of gradient steps in which rho grows by rho0; None for the steps of an epoch. With a
    smaller B, a short run covers the same values of rho as a long one."""

    def __post_init__(self) -> None:
        set_nonnegative(self, "rho0")
        if self.period is not None:
            require_count(self, "period", 1)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return (1 + step / B) rho0."""
        return (1 + step / (self.period or steps_per_epoch)) * self.rho0

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the arithmetic series."""
        return self.rho0 * (step + step * (step - 1) / (2 * (self.period or steps_per_epoch)))
