"""Backward maps: how the gradient at the weights becomes the gradient of the latents.

A step computes the gradient g of the loss at w = P(w*), and moves the latents against B(w*) g. With
the identity as B, this is the straight-through estimator of ProxConnect and BinaryConnect. With the
Jacobian of P, it is gradient descent on the composed loss. ProxConnect++ (arXiv 2402.17710) takes
other elementwise factors.
"""

from quantlab.backward_maps.base import BackwardMap, Factor, StraightThrough
from quantlab.backward_maps.factors import (
    BiReal,
    ClippedIdentity,
    InsideLevels,
    LevelMagnitude,
    ReSTE,
    SignSwishDerivative,
)
from quantlab.backward_maps.jacobian import Jacobian, SoftmaxShortcut

__all__ = [
    "BackwardMap",
    "BiReal",
    "ClippedIdentity",
    "Factor",
    "InsideLevels",
    "Jacobian",
    "LevelMagnitude",
    "ReSTE",
    "SignSwishDerivative",
    "SoftmaxShortcut",
    "StraightThrough",
]
