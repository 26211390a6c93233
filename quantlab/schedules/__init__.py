"""Schedules: numbers for every gradient step, for the sharpness, the learning rate and others."""

from collections.abc import Callable
from typing import TypeAlias

from quantlab.schedules.base import Schedule, value_at
from quantlab.schedules.constant import Constant
from quantlab.schedules.cosine import Cosine
from quantlab.schedules.inverse_pi import InversePi
from quantlab.schedules.learning_rates.one_cycle import OneCycle
from quantlab.schedules.learning_rates.polynomial import Polynomial
from quantlab.schedules.linear import Linear
from quantlab.schedules.power_decay import PowerDecay
from quantlab.schedules.product import Product
from quantlab.schedules.proxquant_epochs import ProxQuantEpochs
from quantlab.schedules.ramp import Ramp, SigmoidRamp
from quantlab.schedules.sequential import Sequential
from quantlab.schedules.staircase import Staircase
from quantlab.schedules.step_decay import StepDecay

StepFunction: TypeAlias = Callable[[int], float]
"""A schedule with a fixed number of steps per epoch: it maps a gradient step to a number."""

__all__ = [
    "Constant",
    "Cosine",
    "InversePi",
    "Linear",
    "OneCycle",
    "Polynomial",
    "PowerDecay",
    "Product",
    "ProxQuantEpochs",
    "Ramp",
    "Schedule",
    "Sequential",
    "SigmoidRamp",
    "Staircase",
    "StepDecay",
    "StepFunction",
    "value_at",
]
