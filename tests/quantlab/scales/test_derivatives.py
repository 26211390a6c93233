"""Derivatives of every quantizer with every scale, compared with finite differences."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from quantlab import ConfigurationError, Quantizer
from quantlab import quantizers as all_quantizers
from quantlab import scales as all_scales
from quantlab.backward_maps import BackwardMap, Jacobian
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.optim.buffers import QuantizedWeights
from quantlab.optim.placed import WeightMap
from quantlab.quantization_sets import TERNARY
from quantlab.quantizers import (
    Averaged,
    BinaryRelax,
    PiecewiseLinear,
    RandomChoice,
    SignSwish,
)
from quantlab.quantizers.base import Sharpness
from quantlab.scales import LearnedStep, LeastSquares, Scale, TernaryWeight, TrainedTernary
from quantlab.update_rules import Point

K, ROWS = 12, 3
STEP = 1e-6
SHARPNESSES = (0.0, 0.3, 1.5, 40.0)
MIXED = (BinaryRelax(), ShiftedTanh())
QUANTIZERS = [
    *(
        getattr(all_quantizers, name)()
        for name in all_quantizers.__all__
        if name not in ("Half", "Quantizer", "SignSwish")
    ),
    PiecewiseLinear(varrho_scale=0, relative=True),
    ShiftedTanh(),
    Averaged(TERNARY, MIXED),
    RandomChoice(TERNARY, MIXED),
]
QUANTIZERS = [one for one in QUANTIZERS if one.is_bounded]
DIFFERENTIABLE = (BinaryRelax(), ShiftedTanh(), Averaged(TERNARY, MIXED), SignSwish())
SCALES = [
    *(
        getattr(all_scales, name)(per="channel")
        for name in all_scales.__all__
        if isinstance(getattr(all_scales, name), type)
        and issubclass(getattr(all_scales, name), Scale)
        and name != "Scale"
    ),
    TernaryWeight(per="channel", two_sided=True),
    LeastSquares(per="channel"),
]
PAIRS = [(of, scale) for of in QUANTIZERS for scale in SCALES] + [
    (SignSwish(), scale)
    for scale in SCALES
    if not isinstance(scale, TernaryWeight | TrainedTernary)
]


@dataclass(frozen=True)
class Differences(BackwardMap):
    """The derivative of the map at fixed levels by finite differences, which all maps have."""

    def apply(
        self, gradient: Tensor, latent: Tensor, sharpness: Sharpness, quantizer: Quantizer
    ) -> Tensor:
        upper, lower = (image(quantizer, latent + step, sharpness) for step in (STEP, -STEP))
        return gradient * (upper - lower) / (2 * STEP)


def image(quantizer: Quantizer, latent: Tensor, sharpness: Sharpness) -> Tensor:
    torch.manual_seed(0)
    return quantizer.weights(latent, sharpness)


def weights_of(quantizer: Quantizer, scale: Scale, sharpness: float) -> QuantizedWeights:
    random = torch.Generator().manual_seed(3)
    start = torch.randn(ROWS, K, generator=random, dtype=torch.float64)
    own = QuantizedWeights(
        WeightMap(quantizer, scale, K),
        lambda step: sharpness,
        [nn.Parameter(start)],
        Point.PROXIMAL,
    )
    if own.learned is not None:
        own.learned.data *= 1 + torch.rand(own.learned.shape, generator=random).double() / 2
    torch.manual_seed(0)
    own.refresh(0)
    return own


def gradients() -> Tensor:
    return torch.linspace(-1, 2, ROWS * K, dtype=torch.float64).roll(7)


@pytest.mark.parametrize(("quantizer", "scale"), PAIRS, ids=repr)
def test_the_gradient_of_latents_is_the_derivative_with_fixed_levels(
    quantizer: Quantizer, scale: Scale
) -> None:
    for sharpness in SHARPNESSES if quantizer in DIFFERENTIABLE else ():
        own = weights_of(quantizer, scale, sharpness)
        found, expected = (
            own.carried_back(gradients(), own.latent, backward, 0)
            for backward in (Jacobian(), Differences())
        )
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    if quantizer not in DIFFERENTIABLE and not quantizer.random:
        own = weights_of(quantizer, scale, 0.3)
        with pytest.raises(ConfigurationError, match="cannot be differentiated by autograd"):
            own.carried_back(gradients(), own.latent, Jacobian(), 0)


@pytest.mark.parametrize(
    ("quantizer", "scale"),
    [(of, scale) for of, scale in PAIRS if scale.num_learned(of.levels)],
    ids=repr,
)
def test_the_gradient_of_learned_numbers_is_a_derivative(
    quantizer: Quantizer, scale: Scale
) -> None:
    for sharpness in SHARPNESSES:
        own = weights_of(quantizer, scale, sharpness)
        own.carried_back(gradients(), own.latent, Differences(), 0)
        assert own.learned is not None
        assert own.learned.grad is not None
        found = own.learned.grad
        if isinstance(scale, LearnedStep):
            found = found * math.sqrt(K * quantizer.levels[-1])

        def loss(
            learned: Tensor, own: QuantizedWeights = own, sharpness: float = sharpness
        ) -> float:
            here = own.map.at(own.latent, learned)
            return float((image(here, own.latent, sharpness) * gradients()).sum())

        expected = differences(loss, own.learned.detach())
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)


def differences(loss: Callable[[Tensor], float], at: Tensor) -> Tensor:
    shifts = STEP * torch.eye(len(at), dtype=at.dtype)
    return at.new_tensor([(loss(at + one) - loss(at - one)) / (2 * STEP) for one in shifts])
