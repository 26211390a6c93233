"""Largest: the scale that puts the outermost level on the largest weight."""

from dataclasses import dataclass

from torch import Tensor

from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement, Proportional


@dataclass(frozen=True, kw_only=True)
class Largest(Scale):
    """s = max |w*| / max |q|: the levels s Q reach the largest weight ("absmax")."""

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels at s Q."""
        reach = max(-levels[0], levels[-1])
        scale = (latent.abs().amax(dim=-1, keepdim=True) / reach).clamp_(min=SMALLEST)
        return Proportional(scale, scale)
