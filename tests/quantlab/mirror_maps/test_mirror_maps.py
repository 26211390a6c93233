"""Mirror maps, their inverses and divergences (mirror-descent paper, sections 3 and A)."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from quantlab import ConfigurationError, Quantizer
from quantlab.backward_maps import SoftmaxShortcut
from quantlab.mirror_maps import MirrorMap
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.sign_swish import SignSwish

UNEVEN = (-2.0, -0.5, 0.5, 3.0)
SETS = [BINARY, TERNARY, QUATERNARY, (0.0, 1.0), (-2.0, 0.0, 2.0), (-3.0, -1.0, 1.0, 3.0), UNEVEN]
LATENT = torch.linspace(-1.6, 1.7, 23, dtype=torch.float64)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_the_papers_projections(beta: float) -> None:
    """Equations (12) and (21), and the sigmoid as an affine conjugate of tanh."""
    torch.testing.assert_close(ShiftedTanh(BINARY).prox(LATENT, beta), torch.tanh(beta * LATENT))
    torch.testing.assert_close(
        ShiftedTanh(TERNARY).prox(LATENT, beta),
        (torch.tanh(beta * (LATENT + 0.5)) + torch.tanh(beta * (LATENT - 0.5))) / 2,
    )
    torch.testing.assert_close(
        ShiftedTanh((0.0, 1.0)).prox(LATENT, beta), torch.sigmoid(2 * beta * (LATENT - 0.5))
    )
    torch.testing.assert_close(
        2 * ShiftedTanh((0.0, 1.0)).prox((LATENT + 1) / 2, 2 * beta) - 1,
        ShiftedTanh(BINARY).prox(LATENT, beta),
    )


@pytest.mark.parametrize("beta", [0.5, 2.0, 4.0, 30.0])
def test_shifted_tanh_at_the_inflection_points(beta: float) -> None:
    """P(+-1/2) = +-tanh(beta) / 2 and P(0) = 0: one of the two steps is at its middle."""
    image = ShiftedTanh(TERNARY).prox(double(-0.5, 0.0, 0.5), beta)
    torch.testing.assert_close(image, double(-0.5, 0, 0.5) * math.tanh(beta), rtol=0, atol=1e-15)


@pytest.mark.parametrize("levels", SETS, ids=str)
@pytest.mark.parametrize("beta", [0.3, 1.0, 4.0])
def test_the_inverse_of_shifted_tanh(levels: tuple[float, ...], beta: float) -> None:
    quantizer = ShiftedTanh(levels)
    center, half = (levels[0] + levels[-1]) / 2, (levels[-1] - levels[0]) / 2
    latent = center + half * torch.linspace(-1.2, 1.2, 23, dtype=torch.float64)
    image = quantizer.prox(latent, beta)
    # Where the map is flat, its inverse magnifies the rounding of the image.
    slope = quantizer.pullback(torch.ones_like(latent), latent, beta)
    error = (quantizer.inverse(image, beta) - latent).abs() * slope
    assert float(error.max()) < 1e-14 * max(1, abs(levels[-1]))
    there = quantizer.prox(quantizer.inverse(image, beta), beta)
    torch.testing.assert_close(there, image, rtol=0, atol=1e-14 * max(1, abs(levels[-1])))
    edges = quantizer.inverse(double(levels[0], levels[-1]), beta)
    assert edges.tolist() == [-math.inf, math.inf]


@pytest.mark.parametrize("levels", SETS, ids=str)
@pytest.mark.parametrize("beta", [0.05, 0.3, 20.0])
def test_the_inverse_close_to_the_outer_levels(levels: tuple[float, ...], beta: float) -> None:
    """There, a small steepness has latents far outside of the set."""
    quantizer, span = ShiftedTanh(levels), levels[-1] - levels[0]
    image = double(levels[0] + 1e-9 * span, levels[-1] - 1e-9 * span)
    there = quantizer.prox(quantizer.inverse(image, beta), beta)
    torch.testing.assert_close(there, image, rtol=0, atol=1e-13 * span)


def test_formulas_have_the_steepness() -> None:
    for kind, before in ((ShiftedTanh, "tanh("), (Softmax, "softmax(")):
        assert f"{before}s " in kind(BINARY).formula
        assert f"{before}2.5 " in kind(BINARY, beta=2.5).formula


@pytest.mark.parametrize("levels", [BINARY, TERNARY], ids=str)
@pytest.mark.parametrize("kind", [ShiftedTanh, Softmax])
def test_stacked_weights_have_a_steepness_of_their_own(
    kind: type[MirrorMap], levels: tuple[float, ...]
) -> None:
    """As in packs: a tensor of the sharpness has an axis for the members."""
    quantizer = kind(levels)
    weights = torch.stack([LATENT / 2, LATENT.flip(0) / 3])
    latent = quantizer.lift(weights)
    column = double(0.7, 3.0).view(2, *[1] * (latent.dim() - 1))
    images = quantizer.prox(latent, column)
    others = quantizer.prox(latent.flip(0), column)
    for function in (quantizer.inverse, quantizer.potential):
        alone = [function(image, beta) for image, beta in zip(images, (0.7, 3.0), strict=True)]
        torch.testing.assert_close(function(images, column), torch.stack(alone))
    both = zip(images, others, (0.7, 3.0), strict=True)
    divergences = [quantizer.bregman(one, other, beta) for one, other, beta in both]
    torch.testing.assert_close(quantizer.bregman(images, others, column), torch.stack(divergences))


def test_the_closed_form_of_the_ternary_inverse_stands_a_large_steepness() -> None:
    quantizer = ShiftedTanh(TERNARY)
    for beta in (12.0, 50.0, 500.0, 5000.0):
        image = double(-0.99, -0.5, -1e-3, 0.0, 0.2, 0.9)
        there = quantizer.prox(quantizer.inverse(image, beta), beta)
        torch.testing.assert_close(there, image, rtol=0, atol=1e-15 * beta)


@pytest.mark.parametrize("levels", SETS, ids=str)
@pytest.mark.parametrize("kind", [ShiftedTanh, Softmax])
@given(
    first=st.floats(-1.5, 1.5),
    second=st.floats(-1.5, 1.5),
    beta=st.floats(0.2, 4),
    fixed=st.booleans(),
)
@settings(deadline=None, max_examples=15)
def test_the_divergence_is_that_of_a_convex_function(
    kind: type[MirrorMap],
    levels: tuple[float, ...],
    first: float,
    second: float,
    beta: float,
    fixed: bool,
) -> None:
    """D >= 0, D(w, w) = 0, and the gradient of the potential is the inverse (Theorem 1)."""
    quantizer = kind(levels, beta=beta) if fixed else kind(levels)
    sharpness = math.nan if fixed else beta
    p, q = (
        quantizer.prox(quantizer.lift(double(value)), sharpness if not fixed else 0.0)
        for value in (first, second)
    )
    scale = 1e-12 * max(1, levels[-1] ** 2) / min(beta, 1)
    assert float(quantizer.bregman(p, q, sharpness)) >= -scale
    assert abs(float(quantizer.bregman(q, q, sharpness))) <= scale
    point = p.clone().requires_grad_()
    quantizer.potential(point, sharpness).sum().backward()
    if isinstance(quantizer, Softmax) or len(levels) == 2:  # bisection has no gradient
        torch.testing.assert_close(
            point.grad, quantizer.inverse(p, sharpness), rtol=1e-6, atol=1e-6
        )


def test_the_potential_and_the_divergence_of_tanh() -> None:
    """Equations (14) and (27), whose second logarithm is log((1 - v)(1 + v))."""
    quantizer, beta = ShiftedTanh(BINARY), 2.0
    w, v = double(0.3), double(-0.6)
    phi = ((1 + w) * torch.log(1 + w) + (1 - w) * torch.log(1 - w)) / (2 * beta)
    torch.testing.assert_close(quantizer.potential(w, beta), phi, rtol=0, atol=1e-15)
    divergence = (
        w * torch.log((1 + w) * (1 - v) / ((1 - w) * (1 + v)))
        + torch.log((1 - w) * (1 + w))
        - torch.log((1 - v) * (1 + v))
    ) / (2 * beta)
    torch.testing.assert_close(quantizer.bregman(w, v, beta), divergence, rtol=0, atol=1e-15)
    assert float(divergence) == pytest.approx(0.238394, abs=1e-6)
    # The mirror map is strongly convex: Phi'' = 1 / (beta (1 - w^2)) >= 1 / beta.
    point = torch.linspace(-0.9, 0.9, 19, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(quantizer.inverse(point, beta).sum(), point)
    torch.testing.assert_close(slope, 1 / (beta * (1 - point.detach() ** 2)))


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY, (0.0, 0.5, 3.0)], ids=str)
def test_the_divergence_of_a_quantized_weight_is_finite(levels: tuple[float, ...]) -> None:
    """The potential has limits at the ends of the range, where the inverse is infinite."""
    quantizer, beta = ShiftedTanh(levels), 2.0
    for end, inwards in ((levels[0], 1), (levels[-1], -1)):
        near = quantizer.potential(double(end + inwards * 1e-9), beta)
        torch.testing.assert_close(quantizer.potential(double(end), beta), near, rtol=0, atol=1e-6)
        assert 0 < float(quantizer.bregman(double(end), double(levels[0] + 0.2), beta)) < 10


@pytest.mark.parametrize("levels", [TERNARY, QUATERNARY], ids=str)
def test_the_divergence_of_softmax_is_that_of_kullback_and_leibler(
    levels: tuple[float, ...],
) -> None:
    quantizer, beta = Softmax(levels), 3.0
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, len(levels), 5, dtype=torch.float64, generator=generator)
    u, v = quantizer.prox(latents, beta)
    expected = (u * (u / v).log()).sum(dim=0) / beta
    torch.testing.assert_close(quantizer.bregman(u, v, beta), expected)
    corner = torch.zeros_like(u)
    corner[0] = 1  # a quantized weight: 0 log 0 = 0
    torch.testing.assert_close(quantizer.bregman(corner, v, beta), -v[0].log() / beta)


@pytest.mark.parametrize("levels", SETS, ids=str)
def test_softmax_has_probabilities_and_does_not_see_a_shift(levels: tuple[float, ...]) -> None:
    quantizer = Softmax(levels)
    latent = torch.randn(3, len(levels), 9, dtype=torch.float64)
    u = quantizer.prox(latent, 2.0)
    assert (u > 0).all()
    torch.testing.assert_close(u.sum(dim=-2), torch.ones(3, 9, dtype=torch.float64))
    torch.testing.assert_close(quantizer.prox(latent + 7.5, 2.0), u)
    torch.testing.assert_close(quantizer.prox(quantizer.inverse(u, 2.0), 2.0), u)
    mean = sum(level * u[:, place] for place, level in enumerate(levels))
    torch.testing.assert_close(quantizer.collapse(u), mean)


def test_binary_softmax_is_tanh() -> None:
    """softmax(beta [-w, w]) has the mean tanh(beta w)."""
    quantizer = Softmax(BINARY)
    latent = quantizer.lift(LATENT)
    assert torch.equal(latent, torch.stack([-LATENT, LATENT]))
    for beta in (0.5, 4.0):
        image = quantizer.weights(latent, beta)
        torch.testing.assert_close(image, torch.tanh(beta * LATENT), rtol=0, atol=4e-16)


@pytest.mark.parametrize(
    "quantizer", [*map(ShiftedTanh, SETS), SignSwish()], ids=lambda one: one.formula
)
@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_t47_the_pullback_is_the_derivative(quantizer: Quantizer, sharpness: float) -> None:
    gradient = torch.linspace(-1, 2, 23, dtype=torch.float64)
    torch.testing.assert_close(
        quantizer.pullback(gradient, LATENT, sharpness),
        Quantizer.pullback(quantizer, gradient, LATENT, sharpness),
    )


@pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY], ids=str)
def test_t46_the_pullback_of_softmax_is_its_jacobian(levels: tuple[float, ...]) -> None:
    """PMF's code takes I - u u^T in its place, which does not vanish at the corners."""
    quantizer, beta = Softmax(levels), 2.5
    latent = torch.randn(len(levels), 23, dtype=torch.float64)
    gradient = torch.linspace(-1, 2, 23, dtype=torch.float64)
    jacobian = quantizer.pullback(gradient, latent, beta)
    torch.testing.assert_close(jacobian, Quantizer.pullback(quantizer, gradient, latent, beta))
    shortcut = SoftmaxShortcut().apply(gradient, latent, beta, quantizer)
    u, spread = quantizer.prox(latent, beta), quantizer.spread(gradient)
    torch.testing.assert_close(shortcut, beta * (spread - u * (u * spread).sum(dim=0)))
    assert not torch.allclose(shortcut, jacobian)
    corner = quantizer.lift(double(levels[-1]) + 1)
    assert float(quantizer.pullback(double(1.0), corner, 1e3).abs().max()) < 1e-100
    assert float(SoftmaxShortcut().apply(double(1.0), corner, 1e3, quantizer).abs().max()) > 1


def test_t45_a_lifted_convolution_is_a_convolution_with_the_collapsed_weights() -> None:
    quantizer = Softmax(TERNARY)
    torch.manual_seed(0)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    latent = torch.randn(3, 4 * 3 * 3 * 3, dtype=torch.float64)
    u = quantizer.prox(latent, 1.5).requires_grad_()
    weights = quantizer.collapse(u).view(4, 3, 3, 3)
    # One convolution with a filter per level, whose outputs are summed with the levels.
    filters = u.view(3, 4, 3, 3, 3).flatten(0, 1)
    outputs = F.conv2d(images, filters).unflatten(1, (3, 4))
    levels = double(*TERNARY)
    lifted = (outputs * levels[:, None, None, None]).sum(dim=1)
    torch.testing.assert_close(F.conv2d(images, weights), lifted)
    (of_u,) = torch.autograd.grad(lifted.square().sum(), u, retain_graph=True)
    (of_w,) = torch.autograd.grad(F.conv2d(images, weights).square().sum(), weights)
    torch.testing.assert_close(quantizer.spread(of_w.flatten()), of_u)


@pytest.mark.parametrize("beta", [1e4, 1e20, 1e35, math.inf])
@pytest.mark.parametrize("levels", [BINARY, TERNARY], ids=str)
def test_t44_no_steepness_leads_to_nan_in_float32(levels: tuple[float, ...], beta: float) -> None:
    latent = torch.tensor([-1e4, -0.7, -0.2, 0.0, 1e-30, 0.3, 2.0, 1e4])
    for quantizer in (ShiftedTanh(levels), Softmax(levels)):
        image = quantizer.weights(quantizer.lift(latent), beta)
        assert image.isfinite().all()
        assert quantizer.prox(quantizer.lift(latent), beta).isfinite().all()
    zero = ShiftedTanh(levels).prox(torch.zeros(1), beta)
    assert zero.item() == 0  # of {-1, 1}, it is never quantized without the final projection
    # The paper's closed form divides infinity by infinity where the exponential overflows.
    ratio = torch.tensor(1.5 / 0.5) * torch.exp(torch.tensor(100.0))
    assert ((ratio - 1) / (ratio + 1)).isnan()


def test_bad_steepness_is_refused() -> None:
    for beta in (0.0, -1.0, math.nan, math.inf, "1"):
        for kind in (ShiftedTanh, Softmax):
            with pytest.raises(ConfigurationError, match=rf"{kind.__name__}\.beta = .* > 0"):
                kind(BINARY, beta=beta)
