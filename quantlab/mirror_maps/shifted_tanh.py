"""ShiftedTanh: a sum of tanh steps, one at the middle of every gap."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from quantlab.mirror_maps.base import MirrorMap
from quantlab.quantization_sets import set_name
from quantlab.quantizers.base import Sharpness, at_least_float32

_BISECTIONS = 100


@dataclass(frozen=True)
class ShiftedTanh(MirrorMap):
    """P(w*) = c + sum_k h_k tanh(beta (w* - p_k)) with the middles p_k and half-widths h_k of gaps.

    c is the middle of the range. On {-1, 1} the map is the paper's tanh(beta w*), equation (12). On
    {-1, 0, 1} it is the paper's shifted tanh, equation (21). On {0, 1} it is the sigmoid
    1 / (1 + exp(-2 beta (w* - 1/2))), with its middle at 1/2. For large beta the map tends to the
    projector, except at the middles of gaps, whose images tend to the middles themselves.

    Source: mirror-descent paper, Examples 1 and 3.
    """

    @property
    def formula(self) -> str:
        """The map with its numbers."""
        beta = "s" if self.beta is None else f"{self.beta:g}"
        return (
            f"P(w*) = c + sum_k h_k tanh({beta} (w* - p_k)) with the middles p_k and half-widths "
            f"h_k of the gaps of {set_name(self.levels)} levels"
        )

    @property
    def _center(self) -> float:
        return (self.levels[0] + self.levels[-1]) / 2

    @property
    def _gaps(self) -> list[tuple[float, float]]:
        """The middle and half the width of every gap."""
        return [((low + high) / 2, (high - low) / 2) for low, high in pairwise(self.levels)]

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply the map of the class to `latent`."""
        beta = self.steepness(sharpness, latent)
        image = torch.full_like(latent, self._center)
        for middle, half in self._gaps:
            image = image.add(torch.tanh((latent - middle) * beta), alpha=half)
        return image

    def pullback(self, gradient: Tensor, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Multiply the gradient by the derivative beta sum_k h_k (1 - tanh^2(beta (w* - p_k)))."""
        beta = self.steepness(sharpness, latent)
        slope = torch.zeros_like(latent)
        for middle, half in self._gaps:
            slope = slope.add(1 - torch.tanh((latent - middle) * beta).square(), alpha=half)
        return gradient * (slope * beta)

    def inverse(self, proximal: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return P^-1: in closed form on one gap or two equal gaps, otherwise by bisection.

        With beta the steepness in units of the gap, two equal gaps have
        x = sinh(2 beta z) / (cosh(2 beta z) + cosh(beta)), of which
        z = log((C x + sqrt(C^2 x^2 + 1 - x^2)) / (1 - x)) / (2 beta), C = cosh(beta), is the
        inverse. It is computed for |x|, which avoids the difference of two large numbers.
        """
        beta = self.steepness(sharpness, proximal)
        (middle, half), *others = self._gaps
        if not others:
            return middle + torch.atanh((proximal - middle) / half) / beta
        if len(others) == 1 and math.isclose(others[0][1], half):
            ratio = (proximal - self._center) / (2 * half)
            size, steep = ratio.abs(), beta * 2 * half
            log_cosh = _log_cosh(steep)
            root = torch.hypot(size, torch.exp(-log_cosh) * torch.sqrt(1 - size.square()))
            log = log_cosh + torch.log(size + root) - torch.log1p(-size)
            offset = torch.where(size == 0, 0.0, ratio.sign() * log / (2 * steep))
            return self._center + offset * (2 * half)
        return self._bisected(proximal, sharpness)

    def potential(self, proximal: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return Phi(w) = w z - Psi(z) at z = P^-1(w), where Psi is the integral of P.

        On {-1, 1} it is ((1 + w) log(1 + w) + (1 - w) log(1 - w)) / (2 beta), equation (14). It is
        finite at the lowest and the highest level, where z is infinite.
        """
        beta = self.steepness(sharpness, proximal)
        dual = self.inverse(proximal, sharpness)
        integral, at_edge = self._center * dual, torch.zeros_like(dual)
        for middle, half in self._gaps:
            integral = integral + half * _log_cosh((dual - middle) * beta) / beta
            at_edge = at_edge + half * (middle * dual.sign() + math.log(2) / beta)
        return torch.where(dual.isinf(), at_edge, proximal * dual - integral)

    def _bisected(self, proximal: Tensor, sharpness: Sharpness) -> Tensor:
        beta = self.steepness(sharpness, proximal)
        beyond = 40 / beta  # tanh is 1 to the last bit
        low = torch.zeros_like(proximal) + self.levels[0] - beyond
        high = torch.zeros_like(proximal) + self.levels[-1] + beyond
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            is_below = self.prox(middle, sharpness) < proximal
            low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
        inside = (proximal > self.levels[0]) & (proximal < self.levels[-1])
        infinite = torch.where(proximal >= self.levels[-1], math.inf, -math.inf)
        found = torch.where(inside, (low + high) / 2, infinite)
        return torch.where(proximal.isnan(), proximal, found)


def _log_cosh(value: Tensor) -> Tensor:
    """Return log(cosh(value)) without overflow."""
    size = value.abs()
    return size + torch.log1p(torch.exp(-2 * size)) - math.log(2)
