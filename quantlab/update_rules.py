"""Where the gradient is taken and from which weights the step starts: the 2x2 of update rules.

With latent weights w*, proximal weights w = P(w*), and the stochastic gradient g:

===================  =====================================  ======================================
                     update from latent w*                  update from proximal w
===================  =====================================  ======================================
gradient at w        ProxConnect   w* <- w* - lr g(w)       ProxQuant           w* <- w - lr g(w)
gradient at w*       post-training w* <- w* - lr g(w*)      reverseProxConnect  w* <- w - lr g(w*)
===================  =====================================  ======================================

With the projector as P, the ProxConnect cell is BinaryConnect and the reverseProxConnect cell is
reversed BinaryConnect. Source: ProxConnect paper, equations (2)-(7), (31), (36).
"""

from dataclasses import dataclass
from enum import Enum

from quantlab.errors import ConfigurationError


class Point(Enum):
    """Weights at which a network can be evaluated."""

    LATENT = "latent"
    """w*, the continuous weights that the optimizer moves."""
    PROXIMAL = "proximal"
    """w = P(w*), the (semi-)quantized weights."""
    HARD = "hard"
    """Every weight projected onto the quantization set by P_Q: w*; w, where steps start from it;
    the average, if one is kept."""
    AVERAGED = "averaged"
    """The running average of the proximal weights over the steps, where one is kept."""


@dataclass(frozen=True)
class UpdateRule:
    """One cell of the 2x2."""

    gradient_at: Point
    """Weights at which the stochastic gradient is evaluated: LATENT or PROXIMAL."""
    update_from: Point
    """Weights from which the optimizer's step starts: LATENT or PROXIMAL."""

    def __post_init__(self) -> None:
        for field in ("gradient_at", "update_from"):
            value = getattr(self, field)
            if value not in (Point.LATENT, Point.PROXIMAL):
                raise ConfigurationError(
                    f"UpdateRule.{field} = {value!r}: must be Point.LATENT or Point.PROXIMAL"
                )

    @property
    def uses_prox(self) -> bool:
        """Whether a step needs the proximal weights at all (false for post-training)."""
        return Point.PROXIMAL in (self.gradient_at, self.update_from)


PROX_CONNECT = UpdateRule(gradient_at=Point.PROXIMAL, update_from=Point.LATENT)
"""Equation (31); with the `Nearest` quantizer it is BinaryConnect, (2)-(3)."""
PROX_QUANT = UpdateRule(gradient_at=Point.PROXIMAL, update_from=Point.PROXIMAL)
"""Equations (4)-(5)."""
REVERSE_PROX_CONNECT = UpdateRule(gradient_at=Point.LATENT, update_from=Point.PROXIMAL)
"""Equation (36); with the `Nearest` quantizer it is reversed BinaryConnect, (6)."""
POST_TRAINING = UpdateRule(gradient_at=Point.LATENT, update_from=Point.LATENT)
"""Equation (7): quantization plays no part until the end."""
