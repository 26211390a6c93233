"""Gradients of learned scales, by their formulas and by finite differences; their backward maps."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError, Quantizer
from quantlab.backward_maps import (
    BackwardMap,
    ClippedIdentity,
    InsideLevels,
    Jacobian,
    LevelMagnitude,
    StraightThrough,
)
from quantlab.backward_maps.contract import require_backward_contract
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.placed import Placed
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.unbounded.grid import NearestOnGrid
from quantlab.scales import Scale
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.trained_ternary import TrainedTernary
from tests.quantlab.scales.test_rules import INTEGERS, rows

K = 12


def problem() -> tuple[Tensor, Tensor]:
    """Latents of three rows, and gradients at their weights."""
    return rows(3, k=K), rows(3, k=K).flip(-1).cos() - 0.3


def found_gradient(
    scale: Scale, quantizer: Quantizer, backward: BackwardMap, learned: Tensor
) -> Tensor:
    latent, gradient = problem()
    placement = scale.place(latent, quantizer.levels, learned)
    placed = Placed(quantizer, placement, K)
    weights = placed.prox(latent.flatten(), 1.5).view_as(latent)
    carried = backward.apply(gradient.flatten(), latent.flatten(), 1.5, placed).view_as(latent)
    return scale.gradient(gradient, carried, latent, weights, quantizer.levels, learned)


def differences(loss: Callable[[Tensor], Tensor], learned: Tensor) -> Tensor:
    """The derivative of each row's loss by each of its numbers."""
    step, columns = 1e-6, []
    for column in range(learned.shape[-1]):
        shift = torch.zeros_like(learned)
        shift[:, column] = step
        columns.append((loss(learned + shift) - loss(learned - shift)) / (2 * step))
    return torch.stack(columns, dim=-1)


@pytest.mark.parametrize("levels", [BINARY, INTEGERS, tuple(map(float, range(-8, 8)))])
def test_the_gradient_of_a_step_size_is_that_of_lsq(levels: tuple[float, ...]) -> None:
    latent, gradient = problem()
    scale = LearnedStep()
    learned = 0.6 * scale.initial(latent, levels)  # some weights are beyond the levels
    expected = []
    for row, own, (s,) in zip(latent.tolist(), gradient.tolist(), learned.tolist(), strict=True):
        total = 0.0
        for v, g in zip(row, own, strict=True):
            u = v / s
            if u <= levels[0]:
                total += g * levels[0]
            elif u >= levels[-1]:
                total += g * levels[-1]
            else:
                nearest = min(levels, key=lambda level: abs(level - u))
                total += g * (nearest - u)
        expected.append([total / math.sqrt(K * levels[-1])])
    found = found_gradient(scale, Nearest(levels), InsideLevels(), learned)
    torch.testing.assert_close(found, latent.new_tensor(expected), rtol=1e-12, atol=1e-13)
    unit = latent / learned
    beyond = (unit < levels[0]) | (unit > levels[-1])
    assert 0 < beyond.sum() < beyond.numel() or len(levels) > 8


def test_the_gradient_of_a_step_size_is_a_derivative() -> None:
    """With rounding replaced by clipping plus a residual that is held fixed."""
    latent, gradient = problem()
    scale, levels = LearnedStep(), INTEGERS
    start = 0.6 * scale.initial(latent, levels)
    balance = math.sqrt(K * levels[-1])

    def clipped(step: Tensor) -> Tensor:
        return (latent / step).clamp(levels[0], levels[-1])

    residual = Nearest(levels).hard(latent / start) - clipped(start)

    def loss(step: Tensor) -> Tensor:
        return (gradient * step * (clipped(step) + residual)).sum(dim=-1)

    found = found_gradient(scale, Nearest(levels), InsideLevels(), start)
    torch.testing.assert_close(found * balance, differences(loss, start), rtol=1e-7, atol=1e-8)


def test_the_gradient_with_fixed_levels_is_the_derivative_almost_everywhere() -> None:
    latent, gradient = problem()
    scale = LearnedStep(start="mean", through_rounding=False)
    start = scale.initial(latent, BINARY)

    def loss(step: Tensor) -> Tensor:
        return (gradient * step * Nearest(BINARY).hard(latent / step)).sum(dim=-1)

    found = found_gradient(scale, Nearest(BINARY), ClippedIdentity(), start)
    torch.testing.assert_close(found * math.sqrt(K), differences(loss, start), rtol=1e-7, atol=1e-8)


def test_with_a_smooth_map_and_its_jacobian_the_gradient_is_exact() -> None:
    latent, gradient = problem()
    scale, quantizer = LearnedStep(), ShiftedTanh(TERNARY)
    start = scale.initial(latent, TERNARY)

    def loss(step: Tensor) -> Tensor:
        return (gradient * step * quantizer.prox(latent / step, 1.5)).sum(dim=-1)

    found = found_gradient(scale, quantizer, Jacobian(), start)
    torch.testing.assert_close(found * math.sqrt(K), differences(loss, start), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("reach", [None, 1.0])
def test_a_step_size_starts_where_it_is_said_to(reach: float | None) -> None:
    latent, levels = rows(3, k=K), tuple(map(float, range(-4, 4)))
    size, end = latent.abs(), 3.0 if reach is None else 1.0
    for start, expected in (
        ("lsq", 2 * size.mean(dim=-1) / math.sqrt(end)),
        ("largest", size.amax(dim=-1) / end),
        ("mean", size.mean(dim=-1)),
    ):
        found = LearnedStep(start=start, reach=reach).initial(latent, levels)
        torch.testing.assert_close(found[:, 0], expected, rtol=1e-14, atol=0)


def test_the_gradients_of_ttqs_levels_are_sums_and_derivatives() -> None:
    latent, gradient = problem()
    scale = TrainedTernary(threshold=0.2)
    learned = torch.tensor([[0.4, 1.3], [2.0, 0.01], [0.7, 0.7]], dtype=latent.dtype)
    found = found_gradient(scale, Nearest(TERNARY), LevelMagnitude(), learned)
    threshold = 0.2 * latent.abs().amax(dim=-1, keepdim=True)
    above, below = latent >= threshold, latent < -threshold
    sums = [-(gradient * below).sum(dim=-1), (gradient * above).sum(dim=-1)]
    torch.testing.assert_close(found, torch.stack(sums, dim=-1), rtol=1e-12, atol=1e-14)

    def loss(own: Tensor) -> Tensor:
        weights = torch.where(above, own[:, 1:], torch.where(below, -own[:, :1], 0.0))
        return (gradient * weights).sum(dim=-1)

    torch.testing.assert_close(found, differences(loss, learned), rtol=1e-7, atol=1e-8)


def test_ttqs_latents_have_the_gradient_times_their_level() -> None:
    latent, gradient = problem()
    scale = TrainedTernary(threshold=0.3)
    learned = torch.tensor([[0.4, 1.3], [2.0, 0.1], [0.7, 0.7]], dtype=latent.dtype)
    placed = Placed(Nearest(TERNARY), scale.place(latent, TERNARY, learned), K)
    found = LevelMagnitude().apply(gradient.flatten(), latent.flatten(), 0.0, placed)
    expected = []
    for row, own, (negative, positive) in zip(
        latent.tolist(), gradient.tolist(), learned.tolist(), strict=True
    ):
        limit = 0.3 * max(map(abs, row))
        expected += [
            g * (positive if v >= limit else negative if v < -limit else 1.0)
            for v, g in zip(row, own, strict=True)
        ]
    torch.testing.assert_close(found, latent.new_tensor(expected), rtol=1e-14, atol=0)
    assert len(placed.hard(latent.flatten()).unique()) == 7  # 0 and both levels of three rows


def test_ttqs_levels_start_at_the_means_of_their_sides() -> None:
    latent = rows(3, k=K)
    latent[0].abs_()
    found = TrainedTernary(threshold=0.3).initial(latent, TERNARY)
    for row, (negative, positive) in zip(latent.tolist(), found.tolist(), strict=True):
        limit = 0.3 * max(map(abs, row))
        for side, own in (([-x for x in row], negative), (row, positive)):
            beyond = [x for x in side if x >= limit] or [limit]
            assert own == pytest.approx(sum(beyond) / len(beyond), rel=1e-14)


def test_inside_levels_is_the_gradient_of_clipping() -> None:
    latent = torch.linspace(-3.03, 3, 61, dtype=torch.float64).requires_grad_()
    gradient = torch.linspace(-1, 2, 61, dtype=torch.float64)
    (expected,) = torch.autograd.grad(latent.clamp(-2, 1), latent, gradient)
    found = InsideLevels().apply(gradient, latent.detach(), 0.0, Nearest(INTEGERS))
    assert torch.equal(found, expected)
    step = torch.tensor([[0.5]], dtype=torch.float64)
    assert torch.equal(
        InsideLevels().apply(gradient, latent.detach(), 0.0, NearestOnGrid(resolution=0.5)),
        gradient,
    )
    placed = Placed(Nearest(INTEGERS), LearnedStep().place(latent, INTEGERS, step), 61)
    (expected,) = torch.autograd.grad(latent.clamp(-1, 0.5), latent, gradient)
    assert torch.equal(InsideLevels().apply(gradient, latent.detach(), 0.0, placed), expected)


@pytest.mark.parametrize("backward", [InsideLevels(), LevelMagnitude()], ids=repr)
@pytest.mark.parametrize("levels", [BINARY, TERNARY, INTEGERS])
def test_the_maps_keep_their_contract(backward: BackwardMap, levels: tuple[float, ...]) -> None:
    require_backward_contract(backward, Nearest(levels))
    require_backward_contract(backward, NearestOnGrid(resolution=0.5))
    with pytest.raises(ConfigurationError, match="one latent per weight, but Softmax has"):
        backward.require_fits(Softmax(levels))
    latent = torch.linspace(levels[0], levels[-1], 9)
    unchanged = backward.apply(latent, latent, 0.0, Nearest(BINARY))
    assert torch.equal(unchanged[latent.abs() <= 1], latent[latent.abs() <= 1])
    assert StraightThrough().annealed is backward.annealed is False
