"""Scales: where the levels of a quantization set stand in a tensor, one rule per file."""

from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.base import Scale
from quantlab.scales.fan_in import FanIn
from quantlab.scales.largest import Largest
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.least_squares import LeastSquares
from quantlab.scales.placement import SMALLEST, Placement, Proportional
from quantlab.scales.ternary_weight import TernaryWeight
from quantlab.scales.trained_ternary import TrainedTernary

__all__ = [
    "SMALLEST",
    "AbsoluteMean",
    "FanIn",
    "Largest",
    "LearnedStep",
    "LeastSquares",
    "Placement",
    "Proportional",
    "Scale",
    "TernaryWeight",
    "TrainedTernary",
]
