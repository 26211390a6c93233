"""The projector onto the quantization set."""

from dataclasses import dataclass

from torch import Tensor

from quantlab.quantizers.base import Quantizer, Sharpness
from quantlab.scales.placement import Placement


@dataclass(frozen=True)
class Nearest(Quantizer):
    """P(w*) = P_Q(w*) for every sharpness: BinaryConnect's deterministic quantizer.

    It is the proximal map of the indicator function of Q (ProxConnect paper, equation (15)). A tie
    goes to the upper level, so that sign(0) = +1 for the binary set.
    """

    @property
    def annealed(self) -> bool:
        """Always false, because the projector does not depend on the sharpness."""
        return False

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the nearest levels; `sharpness` is ignored."""
        return self.hard(latent)

    def within(self, placement: Placement, weights: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the nearest levels of the rows."""
        return placement.nearest(weights.detach(), self.levels)
