"""What holds for every rule that places levels, and each derived rule against its formula."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import pytest
import torch
from torch import Tensor

from quantlab import ConfigurationError
from quantlab.backward_maps import InsideLevels
from quantlab.models.convnet import ConvNet
from quantlab.models.he_scales import HeScales
from quantlab.optim.placed import Placed, WeightMap
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.scales import Placement, Scale
from quantlab.scales.absolute_mean import AbsoluteMean
from quantlab.scales.fan_in import FanIn
from quantlab.scales.largest import Largest
from quantlab.scales.learned_step import LearnedStep
from quantlab.scales.least_squares import LeastSquares
from quantlab.scales.ternary_weight import TernaryWeight
from quantlab.scales.trained_ternary import TrainedTernary

INTEGERS = (-2.0, -1.0, 0.0, 1.0)
EIGHT = tuple(float(level) for level in range(-7, 8, 2))


@dataclass(frozen=True)
class Case:
    """A rule on a set."""

    scale: Scale
    levels: tuple[float, ...]
    is_inverse: bool = True
    """Whether `leave` is the inverse of `enter`."""

    def __str__(self) -> str:
        return f"{self.scale} {len(self.levels)}"

    def place(self, latent: Tensor) -> Placement:
        learned = None
        if self.scale.num_learned(self.levels):
            learned = self.scale.initial(latent, self.levels)
        return self.scale.place(latent, self.levels, learned)


CASES = [
    Case(AbsoluteMean(), BINARY),
    Case(AbsoluteMean(factor=0.7), QUATERNARY),
    Case(Largest(), INTEGERS),
    Case(TernaryWeight(), TERNARY),
    Case(TernaryWeight(threshold=0.4, two_sided=True), TERNARY),
    Case(TernaryWeight(two_sided=True), (-2.0, 0.0, 2.0)),
    Case(LeastSquares(), BINARY),
    Case(LeastSquares(), TERNARY),
    Case(LeastSquares(), QUATERNARY),
    Case(LeastSquares(greedy=True), BINARY),
    Case(LeastSquares(greedy=True), QUATERNARY),
    Case(LeastSquares(greedy=True), EIGHT),
    Case(LearnedStep(), INTEGERS),
    Case(LearnedStep(start="largest", reach=1.0), QUATERNARY),
    Case(LearnedStep(start="mean"), BINARY),
    Case(TrainedTernary(), TERNARY, is_inverse=False),
    Case(TrainedTernary(threshold=0.3), (-0.5, 0.0, 0.5), is_inverse=False),
    Case(FanIn(), TERNARY),
]
each_rule = pytest.mark.parametrize("case", CASES, ids=str)


def rows(*lead: int, k: int = 40, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(len(lead) + k)
    return torch.randn(*lead, k, dtype=dtype, generator=generator) + 0.2


UNUSUAL = {
    "zeros": [0.0] * 5,
    "equal": [0.3] * 5,
    "equal sizes": [0.3, -0.3, -0.3, 0.3, 0.3],
    "positive": [0.1, 0.5, 0.4, 0.2, 1.0],
    "one": [0.0, 0.0, 0.0, -7.0, 0.0],
    "two sizes": [1.0, -2.0, 2.0, 1.0, -1.0],
    "tiny": [1e-20, -1e-12, 0.0, 1e-30, 0.0],
    "large": [1e20, -3e20, 2e20, 1e20, 5e19],
    "single": [-0.4],
    "negative zero": [-0.0, 0.0, 1.0, 1.0, -1.0],
}


@each_rule
def test_levels_grow_with_the_weights(case: Case) -> None:
    latent = rows(3)
    if isinstance(case.scale, FanIn):
        return
    one = case.place(latent)
    for factor in (0.25, 3.0):
        other = case.place(factor * latent)
        torch.testing.assert_close(
            other.levels(case.levels), factor * one.levels(case.levels), rtol=1e-12, atol=0
        )
        torch.testing.assert_close(
            other.nearest(factor * latent, case.levels),
            factor * one.nearest(latent, case.levels),
            rtol=1e-12,
            atol=0,
        )


@each_rule
def test_leaving_is_the_inverse_of_entering(case: Case) -> None:
    latent = torch.cat([rows(3), 5 * rows(3)], dim=-1)
    placement = case.place(rows(3))
    unit = placement.enter(latent)
    assert placement.is_inverse is case.is_inverse
    if case.is_inverse:
        torch.testing.assert_close(placement.leave(unit), latent, rtol=1e-12, atol=1e-12)
    order = latent.argsort(dim=-1)
    assert (unit.gather(-1, order).diff() > 0).all()
    assert (placement.leave(unit).gather(-1, order).diff() > 0).all()


@each_rule
def test_inside_levels_has_the_gradients_of_clipping_to_the_levels_of_the_row(case: Case) -> None:
    """Also if the weights that are projected onto the outermost levels end elsewhere."""
    latent = torch.cat([1.1 * rows(3), 5 * rows(3)], dim=-1).requires_grad_()  # at no level
    gradient = latent.detach().cos()
    placement = case.place(rows(3))
    levels = placement.levels(case.levels)
    clipped = torch.clamp(latent, levels[:, :1], levels[:, -1:])
    (expected,) = torch.autograd.grad(clipped, latent, gradient)
    placed = Placed(Nearest(case.levels), placement, latent.shape[-1])
    flat = latent.detach().flatten()
    found = InsideLevels().apply(gradient.flatten(), flat, 0.0, placed)
    assert torch.equal(found.view_as(latent), expected)


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("unusual", UNUSUAL)
def test_levels_are_finite_and_increase(case: Case, dtype: torch.dtype, unusual: str) -> None:
    latent = torch.tensor([UNUSUAL[unusual]], dtype=dtype)
    placement = case.place(latent)
    levels = placement.levels(case.levels)
    assert levels.shape == (1, len(case.levels))
    assert levels.isfinite().all()
    assert (levels.diff() > 0).all()
    assert placement.enter(latent).isfinite().all()
    nearest = placement.nearest(latent, case.levels)
    assert torch.isin(nearest, levels).all()


@each_rule
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_hard_weights_are_levels_to_the_last_bit(case: Case, dtype: torch.dtype) -> None:
    latent = rows(20, dtype=dtype)
    placement = case.place(latent)
    levels = placement.levels(case.levels)
    nearest = placement.nearest(latent, case.levels)
    for own, found in zip(levels, nearest, strict=True):
        assert torch.isin(found, own).all()
    assert torch.equal(placement.nearest(levels, case.levels), levels) or not case.is_inverse


@each_rule
def test_rows_do_not_see_each_other(case: Case) -> None:
    latent = rows(2, 3)
    together = case.place(latent)
    for place in product(range(2), range(3)):
        alone = case.place(latent[place])
        torch.testing.assert_close(
            alone.levels(case.levels), together.levels(case.levels)[place], rtol=1e-14, atol=0
        )
        torch.testing.assert_close(
            alone.enter(latent[place]), together.enter(latent)[place], rtol=1e-12, atol=1e-14
        )


@each_rule
def test_a_rule_changes_none_of_its_arguments(case: Case) -> None:
    latent = rows(2)
    kept = latent.clone()
    placement = case.place(latent)
    placement.leave(placement.enter(latent))
    placement.nearest(latent, case.levels)
    assert torch.equal(latent, kept)


def assigned(size: int, choices: int) -> Tensor:
    """All ways to give one of several numbers to each weight, (choices^size, size)."""
    grid = torch.cartesian_prod(*[torch.arange(choices)] * size)
    return grid.view(-1, size)


def test_binary_weight_is_the_least_squares_scale() -> None:
    for seed in range(20):
        latent = rows(1, k=9 + seed % 2)[0] * (1 + seed)
        signs = 2.0 * assigned(len(latent), 2) - 1
        error = latent.square().sum() - (signs.double() @ latent).square() / len(latent)
        placement = AbsoluteMean().place(latent, BINARY)
        found = (placement.nearest(latent, BINARY) - latent).square().sum()
        torch.testing.assert_close(found, error.min(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("factor", [1.0, 0.6])
def test_bitnet_rounds_and_clips(factor: float) -> None:
    latent = rows(7)
    placement = AbsoluteMean(factor=factor).place(latent, TERNARY)
    for row, found in zip(latent, placement.nearest(latent, TERNARY), strict=True):
        gamma = factor * row.abs().mean()
        expected = gamma * (row / gamma).round().clamp(-1, 1)
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def twn(row: Tensor, threshold: float, two_sided: bool) -> Tensor:
    """The published projection, with loops."""
    numbers = row.tolist()
    limit = threshold * sum(map(abs, numbers)) / len(numbers)
    above = [x for x in numbers if x >= limit]
    below = [-x for x in numbers if x <= -limit]
    if not two_sided:
        above = below = above + below
    positive = sum(above) / len(above) if above else math.nan
    negative = sum(below) / len(below) if below else math.nan
    return row.new_tensor(
        [positive if x >= limit else -negative if x <= -limit else 0.0 for x in numbers]
    )


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("threshold", [0.7, 0.2, 1.0])
def test_ternary_weight_is_the_published_projection(threshold: float, two_sided: bool) -> None:
    latent = rows(9)
    latent[0].abs_()  # one side is empty
    rule = TernaryWeight(threshold=threshold, two_sided=two_sided)
    placement = rule.place(latent, TERNARY)
    expected = torch.stack([twn(row, threshold, two_sided) for row in latent])
    assert not expected.isnan().any()
    found = Nearest(TERNARY).within(placement, latent, 0.0)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    for mu in (0.0, 1e-3, 0.8, 40.0):  # ProxQuant's map
        found = BinaryRelax(TERNARY).within(placement, latent, mu)
        torch.testing.assert_close(
            found, (latent + mu * expected) / (1 + mu), rtol=1e-12, atol=1e-14
        )


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("levels", [TERNARY, (-2.0, 0.0, 2.0)])
def test_thresholds_of_ternary_weights_are_the_middles_of_the_set(
    levels: tuple[float, ...], two_sided: bool
) -> None:
    """So that a map that saturates there does so at the threshold of the row."""
    latent = rows(6)
    placement = TernaryWeight(two_sided=two_sided).place(latent, levels)
    threshold = 0.7 * latent.abs().mean(dim=-1, keepdim=True)
    half = levels[-1] / 2
    for sign in (-1, 1):
        torch.testing.assert_close(
            placement.enter(sign * threshold), torch.full_like(threshold, sign * half)
        )
    saturated = PiecewiseLinear(levels).within(placement, latent, 10.0)
    assert torch.equal(saturated, placement.nearest(latent, levels))


def test_a_side_without_weights_has_its_level_at_twice_the_threshold() -> None:
    latent = rows(4).abs()
    found = TernaryWeight(two_sided=True).place(latent, TERNARY).levels(TERNARY)
    expected = -2 * 0.7 * latent.mean(dim=-1)
    torch.testing.assert_close(found[:, 0], expected, rtol=1e-14, atol=0)
    assert (found[:, 2] < -found[:, 0]).any()


@pytest.mark.parametrize("levels", [TERNARY, (-0.5, 0.0, 0.5)])
def test_ttqs_levels_are_the_learned_numbers_on_any_set(levels: tuple[float, ...]) -> None:
    latent = rows(2)
    learned = torch.tensor([[0.4, 1.3], [2.0, 0.3]], dtype=latent.dtype)
    placement = TrainedTernary(threshold=0.3).place(latent, levels, learned)
    expected = torch.tensor([[-0.4, 0, 1.3], [-2.0, 0, 0.3]], dtype=latent.dtype)
    torch.testing.assert_close(placement.levels(levels), expected)
    threshold = 0.3 * latent.abs().amax(dim=-1, keepdim=True)
    inside = latent.abs() < threshold
    assert torch.equal(placement.nearest(latent, levels) == 0, inside)
    assert inside.any()


def test_the_fan_in_scale_is_that_of_the_network_with_he_scales() -> None:
    model = HeScales(base=ConvNet(width=3)).build(num_classes=4, num_channels=2)
    compared = 0
    for name, layer in model.named_modules():
        if not hasattr(layer, "he_scale"):
            continue
        weight = layer.get_parameter("weight").detach()
        length = FanIn().row_length(weight.shape, name)
        placement = FanIn().place(weight.view(-1, length), TERNARY)
        factor = layer.he_scale.factor
        assert torch.equal(
            placement.levels(TERNARY), factor * torch.tensor([TERNARY] * len(weight))
        )
        compared += 1
    assert compared >= 3


def test_the_outermost_level_stands_at_the_largest_weight() -> None:
    latent = rows(6)
    placement = Largest().place(latent, INTEGERS)
    largest = latent.abs().amax(dim=-1)
    torch.testing.assert_close(placement.levels(INTEGERS)[:, 0], -largest, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AbsoluteMean(factor=0), r"AbsoluteMean\.factor = 0: must be a finite number > 0"),
        (lambda: TernaryWeight(threshold=1.5), r"threshold = 1\.5: must be a number > 0 and <= 1"),
        (lambda: TrainedTernary(threshold=0), r"threshold = 0: must be a number > 0 and <= 1"),
        (lambda: LearnedStep(start="max"), r"start = 'max': must be 'lsq', 'largest' or 'mean'"),
        (lambda: LearnedStep(reach=-1), r"LearnedStep\.reach = -1: must be a finite number > 0"),
        (lambda: FanIn(per="tensor"), r"FanIn\.per = 'tensor': must be 'channel'"),
        (lambda: LeastSquares(greedy=1), r"LeastSquares\.greedy = 1: must be True or False"),  # type: ignore[arg-type]
        (lambda: TernaryWeight().require_fits(BINARY), "must be -q, 0 and q.* for TernaryWeight"),
        (
            lambda: TrainedTernary().require_fits((-1.0, 0.0, 2.0)),
            "must be -q, 0 and q.* for TrainedTernary",
        ),
        (lambda: LearnedStep().require_fits((-2.0, -1.0)), "must have a level > 0 for LearnedStep"),
        (lambda: LeastSquares().require_fits(EIGHT), "must be 2, 3 or 4 levels.*use greedy=True"),
        (
            lambda: LeastSquares(greedy=True).require_fits(TERNARY),
            "must be 2, 4, 8 or 16 levels.*use greedy=False",
        ),
        (lambda: LeastSquares().require_fits((0.0, 1.0)), "must have -q for every level q"),
    ],
)
def test_faults_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)


@each_rule
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_short_floats_are_computed_in_float32(case: Case, dtype: torch.dtype) -> None:
    latent = rows(3, dtype=torch.float32).to(dtype).flatten()
    for quantizer in (Nearest(case.levels), PiecewiseLinear(case.levels)):
        weight_map = WeightMap(quantizer, case.scale, 40)
        learned = weight_map.initial(latent) if weight_map.num_learned else None
        found = weight_map.at(latent, learned)
        wide = weight_map.at(latent.float(), None if learned is None else learned.float())
        assert torch.equal(found.hard(latent), wide.hard(latent.float()).to(dtype))
        for sharpness in (0.1, torch.tensor([0.1], dtype=torch.float32)):
            weights = found.weights(latent, sharpness)
            assert weights.dtype is dtype
            assert torch.equal(weights, wide.weights(latent.float(), sharpness).to(dtype))
