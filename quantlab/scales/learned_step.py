"""LearnedStep: the step size of LSQ, which is learned like a weight."""

import math
from dataclasses import dataclass

from torch import Tensor

from quantlab.errors import ConfigurationError, brief
from quantlab.plain_values import require_bool, require_number
from quantlab.scales.base import Scale
from quantlab.scales.placement import SMALLEST, Placement, Proportional

STARTS = ("lsq", "largest", "mean")
"""Where a step size starts; see `LearnedStep.start`."""


@dataclass(frozen=True, kw_only=True)
class LearnedStep(Scale):
    """One learned number s per row, so that w = s P(w* / s).

    With `Nearest` on the integers from -2^(b-1) to 2^(b-1) - 1 and the backward map
    `InsideLevels`, it is learned step size quantization (LSQ; Esser et al., ICLR 2020, equations
    (1)-(3) and section 2.2). With u = w* / s and the gradient g of the loss at w, the gradient of s
    is::

        sum over the row of  g (P_Q(u) - u)  inside the levels,  g q  beyond an outermost level q

    divided by sqrt(k reach), where k is the number of weights in the row. In terms of the backward
    map B it is sum (g w - B(g) w*) / s, which holds for other maps P and B, too.

    The stretched sets of ParetoQ (arXiv 2502.02631) have k levels at odd multiples of 1 / k, or at
    even ones if k is odd, and a gradient where |u| <= 1. They need ``reach=1``.
    """

    start: str = "lsq"
    """Start of s: ``"lsq"`` for 2 mean |w*| / sqrt(reach), ``"largest"`` for max |w*| / reach, or
    ``"mean"`` for mean |w*|."""
    reach: float | None = None
    """End of the range in which weights are rounded, in units of s; None for the largest level, as
    in LSQ."""
    through_rounding: bool = True
    """Whether rounding has the gradient of the backward map. If False, the gradient of s is that
    with the levels P_Q(u) held fixed, sum g P_Q(u), as ParetoQ has it for one bit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start not in STARTS:
            raise ConfigurationError(
                f"LearnedStep.start = {brief(self.start)}: must be 'lsq', 'largest' or 'mean'"
            )
        if self.reach is not None:
            reach = float(require_number(self, "reach", exclusive=True))
            object.__setattr__(self, "reach", reach)
        require_bool(self, "through_rounding")

    def require_fits(self, levels: tuple[float, ...]) -> None:
        """Check that the largest level is positive."""
        if levels[-1] <= 0:
            raise ConfigurationError(
                f"levels = {levels}: must have a level > 0 for LearnedStep, such as (-2, -1, 0, 1)"
            )

    def num_learned(self, levels: tuple[float, ...]) -> int:
        """Return 1, the number of step sizes per row."""
        return 1

    def initial(self, latent: Tensor, levels: tuple[float, ...]) -> Tensor:
        """Return the step sizes that training starts with."""
        size, reach = latent.abs(), self._reach(levels)
        match self.start:
            case "lsq":
                step = 2 * size.mean(dim=-1, keepdim=True) / math.sqrt(reach)
            case "largest":
                step = size.amax(dim=-1, keepdim=True) / reach
            case _:
                step = size.mean(dim=-1, keepdim=True)
        return step.clamp(min=SMALLEST)

    def place(
        self, latent: Tensor, levels: tuple[float, ...], learned: Tensor | None = None
    ) -> Placement:
        """Place the levels at s Q."""
        assert learned is not None
        return Proportional(learned, learned)

    def gradient(
        self,
        gradient: Tensor,
        carried: Tensor,
        latent: Tensor,
        weights: Tensor,
        levels: tuple[float, ...],
        learned: Tensor,
    ) -> Tensor:
        """Return the gradient of the step sizes."""
        parts = gradient * weights
        if self.through_rounding:
            parts -= carried * latent
        balance = math.sqrt(latent.shape[-1] * self._reach(levels))
        return parts.sum(dim=-1, keepdim=True) / (learned * balance)

    def _reach(self, levels: tuple[float, ...]) -> float:
        return levels[-1] if self.reach is None else self.reach
