"""Methods whose levels come from the weights, or are learned, as quantizations of the same step.

In every row of a tensor (the tensor itself, or each of its output channels), the levels of the set
stand where the scale places them:

==============  ===================  ============================  =======  ======================
method          forward P            levels                        row      backward B
==============  ===================  ============================  =======  ======================
BWN             sign                 +-mean |w*|                   channel  1
TWN             projector            0 and +-mean of large |w*|    tensor   1
TTQ             projector            -W_n, 0 and W_p, learned      tensor   W_n, 1 or W_p
PQ-Ternary      (w* + rho P_Q(w*))   0 and the mean of either      tensor   1; steps start from w
                / (1 + rho)          side's large w*
LSBQ            projector            least squares                 channel  1
LSBQ with PC    L_rho^rho            least squares                 channel  1
PARQ            L_rho^0, in          least squares                 channel  1
                half-gaps
LSQ             projector            s times integers, s learned   tensor   1 between the levels
ParetoQ         projector            s times an even or stretched  channel  1 where |w*| <= s, or
                                     set, s learned                         between the levels
BitNet b1.58    projector            0 and +-mean |w*|             tensor   1
==============  ===================  ============================  =======  ======================

Sources:

- BWN: Rastegari et al., "XNOR-Net" (ECCV 2016), the weights only.
- TWN: Li et al., "Ternary Weight Networks" (arXiv 1605.04711).
- TTQ: Zhu et al., "Trained Ternary Quantization" (ICLR 2017).
- PQ-Ternary: Bai et al., "ProxQuant" (ICLR 2019), with the annealing of its code, but without its
  clipping of weights to [-1, 1], which is ``latent_bound=1.0``.
- LSBQ: Pouransari et al., "Least Squares Binary Quantization" (arXiv 2001.02786).
- PARQ: Jin et al., "PARQ: Piecewise-Affine Regularized Quantization" (arXiv 2503.15748). Its public
  code recomputes the levels in every tenth step; here, this happens in every step.
- LSQ: Esser et al., "Learned Step Size Quantization" (ICLR 2020), the weights only.
- ParetoQ: Liu et al. (arXiv 2502.02631). Its public code divides the gradient of s by the root of
  the number of weights of the layer; here, it is that of the row.
- BitNet b1.58: Ma et al. (arXiv 2402.17764), the weights only.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from quantlab.backward_maps import (
    BackwardMap,
    ClippedIdentity,
    InsideLevels,
    LevelMagnitude,
    StraightThrough,
)
from quantlab.errors import ConfigurationError
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers import Quantizer
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.recipe import Quantization
from quantlab.scales import Scale
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.least_squares import LeastSquares
from quantlab.scales.ternary_weight import TernaryWeight
from quantlab.scales.trained_ternary import TrainedTernary
from quantlab.schedules import Constant, Linear, ProxQuantEpochs, Schedule, SigmoidRamp
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT, UpdateRule

__all__ = [
    "BITNET",
    "BWN",
    "LSBQ",
    "LSBQ_PROX_CONNECT",
    "LSQ",
    "PARETO_Q",
    "PARQ",
    "PQ_TERNARY",
    "SCALED_METHODS",
    "TTQ",
    "TWN",
    "Annealed",
    "ScaledMethod",
]

Levels = tuple[float, ...]


class Annealed(Enum):
    """How a method's sharpness grows."""

    NOT = "not"
    RHO0 = "rho0"
    """rho_t = (1 + t / B) rho0, as in the ProxConnect paper, in the unit of the set."""
    RATE = "rate"
    """rho = learning rate * rate * epoch, as in ProxQuant's code."""
    SIGMOID = "sigmoid"
    """PARQ's: along a sigmoid from 0 to 1 over the training."""


@dataclass(frozen=True)
class ScaledMethod:
    """A method with its sets, its maps and its scale."""

    name: str
    """Name in tables."""
    sets: tuple[Levels, ...]
    """The sets for which it is published, with different numbers of levels."""
    scale: Callable[[Levels], Scale]
    """Makes the scale on a set."""
    quantizer: Callable[[Levels], Quantizer] = Nearest
    """Makes the forward map on a set."""
    backward: Callable[[Levels], BackwardMap] = lambda levels: StraightThrough()
    """Makes the backward map on a set."""
    rule: UpdateRule = PROX_CONNECT
    annealed: Annealed = Annealed.NOT

    def quantization(
        self,
        num_levels: int,
        *,
        learning_rate: Schedule,
        epochs: int,
        per: str | int | None = None,
        rho0: float = 0.01,
        rate: float = 1e-4,
        exclude: tuple[str, ...] = (),
    ) -> Quantization:
        """Return the method with a number of levels.

        Args:
            num_levels: number of levels of the set.
            learning_rate: learning rate of the recipe, to which ProxQuant's strength is
                proportional.
            epochs: number of epochs of the QUANTIZE stage, at whose end PARQ's map is the
                projector.
            per: what has levels of its own (see `Scale.per`); None for the method's own choice.
            rho0: that of ProxConnect's map; by default the middle of its published grid.
            rate: ProxQuant's `reg_rate`, by default that of its script.
            exclude: layers that stay in full precision.

        Raises:
            ConfigurationError: if the method has no set with this number of levels.
        """
        known = {len(levels): levels for levels in self.sets}
        if num_levels not in known:
            *others, last = map(str, known)
            allowed = f"{', '.join(others)} or {last}" if others else last
            raise ConfigurationError(
                f"num_levels = {num_levels}: must be {allowed} for {self.name}"
            )
        levels = known[num_levels]
        scale = self.scale(levels)
        sharpness: dict[Annealed, Schedule] = {
            Annealed.NOT: Constant(0.0),
            Annealed.RHO0: Linear(rho0),
            Annealed.RATE: ProxQuantEpochs(rate, learning_rate),
            Annealed.SIGMOID: SigmoidRamp(1.0, start=0, end=epochs),
        }
        return Quantization(
            rule=self.rule,
            quantizer=self.quantizer(levels),
            sharpness=sharpness[self.annealed],
            backward=self.backward(levels),
            exclude=exclude,
            scale=scale if per is None else replace(scale, per=per),
        )


def _even(count: int) -> Levels:
    """Return evenly spaced levels from -1 to 1."""
    return tuple((2 * place - count + 1) / (count - 1) for place in range(count))


def _integers(bits: int) -> Levels:
    """Return the integers of a number of bits, as two's complement has them."""
    return tuple(float(level) for level in range(-(2 ** (bits - 1)), 2 ** (bits - 1)))


def _stretched(count: int) -> Levels:
    """Return the middles of equal parts of [-1, 1], which ParetoQ rounds to."""
    return tuple((2 * place - count + 1) / count for place in range(count))


_EVEN = (BINARY, TERNARY, _even(4), _even(8), _even(16))


def _least_squares(levels: Levels) -> Scale:
    """Place up to four levels optimally, and more of them greedily."""
    return LeastSquares(per="channel", greedy=len(levels) > 4)


def _pareto_scale(levels: Levels) -> Scale:
    match len(levels):
        case 2:
            return LearnedStep(per="channel", start="mean", through_rounding=False)
        case 3 | 4:
            return LearnedStep(per="channel", start="largest", reach=1.0)
        case _:
            return LearnedStep(per="channel", start="largest")


def _pareto_backward(levels: Levels) -> BackwardMap:
    return ClippedIdentity() if len(levels) <= 4 else InsideLevels()


def _parq_map(levels: Levels) -> Quantizer:
    return PiecewiseLinear(levels, varrho_scale=0.0, relative=True)


BWN = ScaledMethod("BWN", (BINARY,), lambda levels: AbsoluteMean(per="channel"))
TWN = ScaledMethod("TWN", (TERNARY,), lambda levels: TernaryWeight())
TTQ = ScaledMethod(
    "TTQ",
    (TERNARY,),
    lambda levels: TrainedTernary(),
    backward=lambda levels: LevelMagnitude(),
)
PQ_TERNARY = ScaledMethod(
    "PQ-Ternary",
    (TERNARY,),
    lambda levels: TernaryWeight(two_sided=True),
    BinaryRelax,
    rule=PROX_QUANT,
    annealed=Annealed.RATE,
)
LSBQ = ScaledMethod("LSBQ", _EVEN, _least_squares)
LSBQ_PROX_CONNECT = ScaledMethod(
    "LSBQ with PC", _EVEN, _least_squares, PiecewiseLinear, annealed=Annealed.RHO0
)
PARQ = ScaledMethod("PARQ", _EVEN, _least_squares, _parq_map, annealed=Annealed.SIGMOID)
LSQ = ScaledMethod(
    "LSQ",
    (_integers(2), _integers(3), _integers(4)),
    lambda levels: LearnedStep(),
    backward=lambda levels: InsideLevels(),
)
PARETO_Q = ScaledMethod(
    "ParetoQ",
    (BINARY, _stretched(3), _stretched(4), _integers(3), _integers(4)),
    _pareto_scale,
    backward=_pareto_backward,
)
BITNET = ScaledMethod("BitNet b1.58", (TERNARY,), lambda levels: AbsoluteMean())

SCALED_METHODS = (
    BWN, TWN, TTQ, PQ_TERNARY, LSBQ, LSBQ_PROX_CONNECT, PARQ, LSQ, PARETO_Q, BITNET
)  # fmt: skip
"""All methods, in the order of the table above."""
