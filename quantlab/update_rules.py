"""The four update rules: at which weights the gradient is taken, and where the step starts from.

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
    """w*, the continuous weights that the optimizer updates. In a lifted space, the network sees
    their image under `Quantizer.collapse`."""
    PROXIMAL = "proximal"
    """w = P(w*), the (semi-)quantized weights."""
    HARD = "hard"
    """Weights projected onto the quantization set by P_Q. The projected weights are the average of
    the iterates if one is kept, otherwise w if steps start from w, otherwise w*."""
    AVERAGED = "averaged"
    """The running average of the proximal weights over the steps, if the recipe asks for it."""


@dataclass(frozen=True)
class UpdateRule:
    """One of the four update rules."""

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
        """Whether a step needs the proximal weights, which is false for post-training only."""
        return Point.PROXIMAL in (self.gradient_at, self.update_from)


PROX_CONNECT = UpdateRule(gradient_at=Point.PROXIMAL, update_from=Point.LATENT)
"""ProxConnect, equation (31). With the `Nearest` quantizer it is BinaryConnect, (2)-(3)."""
PROX_QUANT = UpdateRule(gradient_at=Point.PROXIMAL, update_from=Point.PROXIMAL)
"""ProxQuant, equations (4)-(5)."""
REVERSE_PROX_CONNECT = UpdateRule(gradient_at=Point.LATENT, update_from=Point.PROXIMAL)
"""reverseProxConnect, equation (36). With the `Nearest` quantizer it is reversed BinaryConnect,
(6)."""
POST_TRAINING = UpdateRule(gradient_at=Point.LATENT, update_from=Point.LATENT)
"""Post-training quantization, equation (7): weights are quantized only at the end of training."""
