"""Quantizers: proximal maps, one per file."""

from quantlab.quantizers.base import Quantizer
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.knots import Half, Knots
from quantlab.quantizers.mixture import Averaged, RandomChoice
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.quantizers.tanh import Tanh
from quantlab.quantizers.unbounded.grid import NearestOnGrid, StochasticOnGrid

__all__ = [
    "Averaged",
    "BinaryRelax",
    "Half",
    "Knots",
    "Nearest",
    "NearestOnGrid",
    "PiecewiseLinear",
    "Quantizer",
    "RandomChoice",
    "SignSwish",
    "StochasticOnGrid",
    "StochasticRounding",
    "Tanh",
]
