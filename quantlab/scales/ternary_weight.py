"""TernaryWeight: the threshold and the scale of ternary weight networks (TWN)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_bool, require_number
from quantlab.quantization_sets import is_symmetric
from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement
from quantlab.scales.thresholded import Thresholded

_LEAST_GAP = 8
"""Smallest distance of a level from its threshold, in rounding errors."""


@dataclass(frozen=True, kw_only=True)
class TernaryWeight(Scale):
    """A threshold D = t mean |w*|, and a scale s that is the mean of the |w*| from D on.

    On {-1, 0, 1}, weights from D on are projected onto s, those below -D onto -s, and others onto
    0. Source: Li et al., "Ternary Weight Networks" (arXiv 1605.04711), where D approximates the
    threshold of the least squared distance; `LeastSquares` has the exact one.

    With `two_sided`, positive and negative levels are the means of their own sides. This is the
    projection of ProxQuant's ternary experiments, as published: their map (w* + mu P(w*)) / (1 +
    mu) is `BinaryRelax` with this scale. A side without weights has its level at 2 D.
    """

    threshold: float = 0.7
    """Threshold t per mean absolute weight, > 0 and <= 1."""
    two_sided: bool = False
    """Whether the positive and the negative level are means of their own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        threshold = float(require_number(self, "threshold", most=1.0, exclusive=True))
        object.__setattr__(self, "threshold", threshold)
        require_bool(self, "two_sided")

    def require_fits(self, levels: tuple[float, ...]) -> None:
        """Check that the set is -q, 0 and q."""
        if len(levels) != 3 or not is_symmetric(levels):
            raise ConfigurationError(
                f"levels = {levels}: must be -q, 0 and q, such as (-1, 0, 1), for TernaryWeight"
            )

    def num_stored(self, levels: tuple[float, ...]) -> int:
        """Return 1, or 2 with two sides."""
        return 2 if self.two_sided else 1

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels at -s, 0 and s."""
        size = latent.abs()
        threshold = (self.threshold * size.mean(dim=-1, keepdim=True)).clamp_(min=SMALLEST / 2)
        above, below = latent >= threshold, latent < -threshold
        if self.two_sided:
            positive, negative = (_mean(size, side, threshold) for side in (above, below))
        else:
            positive = negative = _mean(size, above | below, threshold)
        row_levels = torch.cat([-negative, torch.zeros_like(positive), positive], dim=-1)
        return Thresholded(row_levels, torch.cat([-threshold, threshold], dim=-1), levels)


def _mean(size: Tensor, chosen: Tensor, threshold: Tensor) -> Tensor:
    """Return the mean of the chosen entries of each row, at least a little above the threshold."""
    count = chosen.sum(dim=-1, keepdim=True)
    total = (size * chosen).sum(dim=-1, keepdim=True)
    mean = torch.where(count > 0, total / count.clamp(min=1), 2 * threshold)
    return torch.maximum(mean, threshold * (1 + _LEAST_GAP * torch.finfo(mean.dtype).eps))
