"""TrainedTernary: the two learned levels of trained ternary quantization (TTQ)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from quantlab.errors import ConfigurationError
from quantlab.plain_values import require_number
from quantlab.quantization_sets import is_symmetric
from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement, TwoSided


@dataclass(frozen=True, kw_only=True)
class TrainedTernary(Scale):
    """Learned levels -W_n and W_p of each row, and the threshold D = t max |w*|.

    With `Nearest` on {-1, 0, 1} and the backward map `LevelMagnitude`, it is trained ternary
    quantization (TTQ; Zhu et al., ICLR 2017): weights from D on become W_p, those below -D become
    -W_n, and others 0. The gradients of W_p and W_n are the sums of the gradients at their weights.
    That of W_n has a negative sign, as w = -W_n there; the paper prints it without one.

    The paper does not say where W_p and W_n start. Here, they start at the means of the |w*| beyond
    the threshold on their sides, which have the least squared distance; a side without weights
    starts at D.
    """

    threshold: float = 0.05
    """Threshold t per largest absolute weight, > 0 and <= 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        threshold = float(require_number(self, "threshold", most=1.0, exclusive=True))
        object.__setattr__(self, "threshold", threshold)

    def require_fits(self, levels: tuple[float, ...]) -> None:
        """Check that the set is -q, 0 and q."""
        if len(levels) != 3 or not is_symmetric(levels):
            raise ConfigurationError(
                f"levels = {levels}: must be -q, 0 and q, such as (-1, 0, 1), for TrainedTernary"
            )

    def num_stored(self, levels: tuple[float, ...]) -> int:
        """Return 2."""
        return 2

    def num_learned(self, levels: tuple[float, ...]) -> int:
        """Return 2: W_n and W_p."""
        return 2

    def initial(self, latent: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Return W_n and W_p that training starts with."""
        threshold = self._threshold(latent)
        means = []
        for size in (-latent, latent):
            beyond = size >= threshold
            total = (size * beyond).sum(dim=-1, keepdim=True)
            count = beyond.sum(dim=-1, keepdim=True)
            means.append(torch.where(count > 0, total / count.clamp(min=1), threshold))
        return torch.cat(means, dim=-1).clamp(min=SMALLEST)

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels at -W_n, 0 and W_p."""
        assert learned is not None
        outermost = levels[-1]
        negative, positive = (learned / outermost).split(1, dim=-1)
        return TwoSided(self._threshold(latent) * (2 / outermost), negative, positive)

    def gradient(
        self,
        gradient: Tensor,
        carried: Tensor,
        latent: Tensor,
        weights: Tensor,
        levels: tuple[float, ...],
        learned: Tensor,
    ) -> Tensor:
        """Return the gradients of W_n and W_p.

        Weights between the levels, as maps other than `Nearest` have them, count by their share of
        the level.
        """
        parts = gradient * weights
        sides = [parts * (weights < 0), parts * (weights > 0)]
        return torch.stack([side.sum(dim=-1) for side in sides], dim=-1) / learned

    def _threshold(self, latent: Tensor) -> Tensor:
        largest = latent.abs().amax(dim=-1, keepdim=True)
        return (self.threshold * largest).clamp(min=SMALLEST / 2)
