"""Product: the product of several schedules."""

import math
from dataclasses import dataclass

from quantlab.errors import ConfigurationError, brief
from quantlab.schedules.base import Schedule
from quantlab.schedules.constant import Constant, constant_or


@dataclass(frozen=True)
class Product(Schedule):
    """The product of several schedules at each step.

    For example, a pull of theta_t = eta_t lambda_t with the learning rate eta_t of the recipe is
    ``Product(factors=(learning_rate, Constant(1e-3)))``.
    """

    factors: tuple[Schedule, ...]
    """The schedules, at least one. A number is a constant factor."""

    def __post_init__(self) -> None:
        given = self.factors if isinstance(self.factors, list | tuple) else ()
        factors = tuple(map(constant_or, given))
        if not factors or None in factors:
            raise ConfigurationError(
                f"Product.factors = {brief(self.factors)}: must be a tuple of schedules and "
                "numbers >= 0"
            )
        object.__setattr__(self, "factors", factors)

    def at(self, step: int, steps_per_epoch: int) -> float:
        """Return the product of the values of all factors."""
        return math.prod(factor.at(step, steps_per_epoch) for factor in self.factors)

    def cumulative(self, step: int, steps_per_epoch: int) -> float:
        """Return the sum of the products.

        It is as fast as that of a factor if all others are constant. Otherwise all steps are
        visited.
        """
        scale = math.prod(one.value for one in self.factors if isinstance(one, Constant))
        varying = [one for one in self.factors if not isinstance(one, Constant)]
        if not varying:
            return scale * step
        if len(varying) == 1:
            return scale * varying[0].cumulative(step, steps_per_epoch)
        return super().cumulative(step, steps_per_epoch)
