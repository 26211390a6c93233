"""Methods that were published after the two papers, as quantizations of the same step.

All of them are ProxConnect's update with another backward map or with a pull towards w:

==========  =================  =================================  ==============================
method      forward P          backward B                         start of the step
==========  =================  =================================  ==============================
BNN         projector          1 where |w*| <= 1, else 0          w*
BNN+        sign               derivative of SignSwish            w*
BNN++       SignSwish          derivative of SignSwish            w*
Bi-Real     sign               2 - 2 |w*| where |w*| < 1, else 0  w*
ReSTE       sign               |w*|^(1/o - 1) / o                 w*
normal map  L_rho^rho          1                                  w* - (lr / gamma) (w* - w)
CAGE        projector          1                                  w* - lr lambda_t (w* - w)
==========  =================  =================================  ==============================

Sources, as far as their text or code was at hand:

- ProxConnect++: Lu et al., "Understanding Neural Network Binarization with Forward and Backward
  Proximal Quantizers", NeurIPS 2023 (arXiv 2402.17710), has the first five as its cases. How BNN++
  anneals its steepness is not known here; it grows as rho in ProxConnect.
- ReSTE: Wu et al., ICCV 2023. Its code bounds the factor near 0 by a secant and sets it to 0 where
  |w*| > 1.5; here it has a constant bound.
- Normal map: Qiu et al., "A Normal Map-Based Proximal Stochastic Gradient Method" (arXiv
  2305.05828): z <- z - lr (g(w) + (z - w) / gamma) with w = prox(z). The correction is not part of
  the momentum, as in the default of PARQ's code.
- CAGE: Tabesh et al., "Curvature-Aware Gradient Estimation" (arXiv 2510.18784): lambda (w* - w) is
  decoupled from the base optimizer like AdamW's weight decay. In public scripts, lambda is 0 for
  the first 80 % of the steps and then grows linearly to 10; the paper's choice is not known here.
  CAGE takes the pull after the step. For the projector, this is the same network, because
  w* - theta (w* - w) and w* have the same projection.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from quantlab.backward_maps import (
    BackwardMap,
    BiReal,
    ClippedIdentity,
    Jacobian,
    ReSTE,
    SignSwishDerivative,
    StraightThrough,
)
from quantlab.errors import ConfigurationError
from quantlab.quantizers import Quantizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.recipe import Quantization
from quantlab.schedules import Constant, Linear, Product, Ramp, Schedule
from quantlab.update_rules import PROX_CONNECT

__all__ = [
    "BI_REAL",
    "BNN",
    "BNN_PLUS",
    "BNN_PLUS_PLUS",
    "CAGE",
    "CAGE_SILENCE",
    "NEWER_METHODS",
    "NORMAL_MAP",
    "RESTE",
    "FreeNumber",
    "NewerMethod",
]

CAGE_SILENCE = 0.8
"""Share of the training in which CAGE's lambda is 0."""


class FreeNumber(Enum):
    """What the one number that a method leaves to its user is."""

    NONE = "none"
    STEEPNESS = "b"
    """Steepness of SignSwish, constant in BNN+. In BNN++ it is b_t = (1 + t / B) b."""
    ORDER = "o"
    """The order o at the end of the training; it grows linearly from 1."""
    GAMMA = "gamma"
    """Parameter of the proximal map in the normal map."""
    LAMBDA = "lambda"
    """CAGE's weight of the distance to the quantization set, at the end of the training."""


@dataclass(frozen=True)
class NewerMethod:
    """A method with its maps, and the role of its free number."""

    name: str
    """Name in tables."""
    quantizer: Callable[[tuple[float, ...]], Quantizer] = Nearest
    """Makes the forward map on a quantization set."""
    backward: BackwardMap = field(default_factory=StraightThrough)
    free: FreeNumber = FreeNumber.NONE
    binary: bool = False
    """Whether the maps are defined on {-1, 1} only."""

    def quantization(
        self,
        levels: tuple[float, ...],
        number: float | None = None,
        *,
        learning_rate: Schedule,
        epochs: int,
        steps_per_epoch: int,
        rho0: float = 0.01,
        exclude: tuple[str, ...] = (),
    ) -> Quantization:
        """Return the method on a quantization set.

        Args:
            levels: the quantization set.
            number: value of the free number; None if the method has none.
            learning_rate: learning rate of the recipe, to which a pull is proportional.
            epochs: number of epochs of the QUANTIZE stage.
            steps_per_epoch: number of gradient steps per epoch.
            rho0: that of L_rho^rho in the normal map; by default the middle of ProxConnect's
                published grid. The other methods do not use it.
            exclude: layers that stay in full precision.

        Raises:
            ConfigurationError: if the method is not defined on the set, if `number` is missing or
                not positive (for `ORDER`, not greater than 1), or if it is given for a method that
                has none.
        """
        if self.binary and len(levels) != 2:
            raise ConfigurationError(f"levels = {levels}: must be two levels for {self.name}")
        if (number is None) != (self.free is FreeNumber.NONE):
            allowed = "None" if self.free is FreeNumber.NONE else f"a number ({self.free.value})"
            raise ConfigurationError(f"number = {number}: must be {allowed} for {self.name}")
        least = 1 if self.free is FreeNumber.ORDER else 0
        if number is not None and not least < number < math.inf:
            raise ConfigurationError(
                f"number = {number}: must be a finite number > {least} for {self.name}, whose "
                f"{self.free.value} it is"
            )
        chosen = Quantization(
            rule=PROX_CONNECT,
            quantizer=self.quantizer(levels),
            backward=self.backward,
            exclude=exclude,
        )
        if number is None:
            return chosen
        match self.free:
            case FreeNumber.STEEPNESS if isinstance(self.backward, SignSwishDerivative):
                return replace(chosen, backward=SignSwishDerivative(number))
            case FreeNumber.STEEPNESS:
                return replace(chosen, sharpness=Linear(number))
            case FreeNumber.ORDER:
                period = max(1, round(epochs * steps_per_epoch / (number - 1)))
                return replace(chosen, sharpness=Linear(1.0, period))
            case FreeNumber.GAMMA:
                pull = Product((learning_rate, Constant(1 / number)))
                return replace(chosen, sharpness=Linear(rho0), pull=pull)
            case _:
                start = min(round(CAGE_SILENCE * epochs), epochs - 1)  # at least an epoch is left
                ramp = Ramp(number, start=start, end=epochs)
                return replace(chosen, pull=Product((learning_rate, ramp)))


BNN = NewerMethod("BNN", backward=ClippedIdentity())
BNN_PLUS = NewerMethod(
    "BNN+", backward=SignSwishDerivative(), free=FreeNumber.STEEPNESS, binary=True
)
BNN_PLUS_PLUS = NewerMethod(
    "BNN++", SignSwish, backward=Jacobian(), free=FreeNumber.STEEPNESS, binary=True
)
BI_REAL = NewerMethod("Bi-Real", backward=BiReal(), binary=True)
RESTE = NewerMethod("ReSTE", backward=ReSTE(), free=FreeNumber.ORDER, binary=True)
NORMAL_MAP = NewerMethod("normal map", PiecewiseLinear, free=FreeNumber.GAMMA)
CAGE = NewerMethod("CAGE", free=FreeNumber.LAMBDA)

NEWER_METHODS = (BNN, BNN_PLUS, BNN_PLUS_PLUS, BI_REAL, RESTE, NORMAL_MAP, CAGE)
"""All methods, in the order of the table above."""
