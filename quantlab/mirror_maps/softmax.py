"""Softmax: one latent per weight and level, which the map turns into probabilities."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.mirror_maps.base import MirrorMap
from quantlab.quantization_sets import constant, set_name
from quantlab.quantizers.base import Sharpness, at_least_float32


@dataclass(frozen=True)
class Softmax(MirrorMap):
    """u = softmax(beta u*) over the levels, and w = sum_k u_k q_k: the lifted probability space.

    A weight has one latent u*_k per level q_k. The inverse is log(u_k) / beta, the mirror map is
    the negative entropy, and mirror descent is exponentiated gradient descent. On {-1, 1} the map
    is tanh(beta (u*_2 - u*_1) / 2). The largest latent is subtracted before the multiplication by
    beta, so that no beta leads to NaN.

    Source: mirror-descent paper, equations (8)-(10) and Example 2.
    """

    @property
    def num_latents(self) -> int:
        """The number of levels."""
        return len(self.levels)

    @property
    def formula(self) -> str:
        """The map with its numbers."""
        beta = "s" if self.beta is None else f"{self.beta:g}"
        return f"u = softmax({beta} u*), w = sum_k u_k q_k with {set_name(self.levels)} levels q_k"

    @at_least_float32
    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Return the probabilities u, of the shape (..., d, n) of `latent`."""
        beta = self.steepness(sharpness, latent)
        return torch.softmax((latent - latent.amax(dim=-2, keepdim=True)) * beta, dim=-2)

    def hard(self, latent: Tensor) -> Tensor:
        """Return the level with the largest latent or probability. Ties go up."""
        highest = latent.shape[-2] - 1
        place = highest - latent.detach().flip(-2).argmax(dim=-2)
        level = constant(self.levels, latent.dtype, latent.device)[place]
        return torch.where(latent.isnan().any(dim=-2), math.nan, level)

    def lift(self, weights: Tensor) -> Tensor:
        """Return latents u*_k = q_k w - q_k^2 / 2, up to a constant.

        For large beta their softmax is the level nearest to w. On {-1, 1} they are -w and w, with
        which the map is tanh(beta w).
        """
        levels = constant(self.levels, weights.dtype, weights.device)[:, None]
        offset = levels.square() / 2
        return levels * weights.unsqueeze(-2) - (offset - offset.mean())

    def collapse(self, proximal: Tensor) -> Tensor:
        """Return sum_k u_k q_k."""
        levels = constant(self.levels, proximal.dtype, proximal.device)
        return levels @ proximal

    def spread(self, gradient: Tensor) -> Tensor:
        """Return q_k g: the gradient with respect to u."""
        levels = constant(self.levels, gradient.dtype, gradient.device)
        return gradient.unsqueeze(-2) * levels[:, None]

    def pullback(self, gradient: Tensor, latent: Tensor, sharpness: Sharpness) -> Tensor:
        """Apply beta (diag(u) - u u^T) to the gradient with respect to u."""
        u = self.prox(latent, sharpness)
        spread = self.spread(gradient)
        mean = (u * spread).sum(dim=-2, keepdim=True)
        return u * (spread - mean) * self.steepness(sharpness, latent)

    def inverse(self, proximal: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return log(u_k) / beta, the solution (18) of many that differ by a constant."""
        return proximal.log() / self.steepness(sharpness, proximal)

    def potential(self, proximal: Tensor, sharpness: Sharpness = math.nan) -> Tensor:
        """Return sum_k (u_k log(u_k) - u_k) / beta, equation (19)."""
        beta = self.steepness(sharpness, proximal)
        beta = beta.squeeze(-2) if beta.dim() > 1 else beta
        return (torch.xlogy(proximal, proximal) - proximal).sum(dim=-2) / beta
