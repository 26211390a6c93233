"""AbsoluteMean: the scale of BinaryWeight (BWN, XNOR) and of BitNet b1.58."""

from dataclasses import dataclass

from torch import Tensor

from quantlab.plain_values import require_number
from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement, Proportional


@dataclass(frozen=True, kw_only=True)
class AbsoluteMean(Scale):
    """s = factor * mean |w*|, so that the levels stand at s Q.

    With `Nearest` on {-1, 1}, w = mean |w*| sign(w*) has the least squared distance from w* of all
    s {-1, 1} (Rastegari et al., "XNOR-Net", 2016, equation (6): one scale per output channel). With
    `Nearest` on {-1, 0, 1}, it is the quantizer of BitNet b1.58 (Ma et al., arXiv 2402.17764): the
    thresholds are +-s / 2.
    """

    factor: float = 1.0
    """Scale per mean absolute weight, > 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", float(require_number(self, "factor", exclusive=True)))

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels at s Q."""
        mean = latent.abs().mean(dim=-1, keepdim=True)
        scale = (self.factor * mean).clamp_(min=SMALLEST)
        return Proportional(scale, scale)
