"""Stochastic rounding and mixtures of maps, compared to their distributions.

Random values are compared with an exact mean at 5 standard errors of that mean, which a right
implementation would miss once in a million comparisons; the seeds are fixed.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quantlab import ConfigurationError, Point, Quantizer, UpdateRule
from quantlab.mirror_maps.shifted_tanh import ShiftedTanh
from quantlab.mirror_maps.softmax import Softmax
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.placed import Placed
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY
from quantlab.quantizers.binary_relax import BinaryRelax
from quantlab.quantizers.contract import require_contract
from quantlab.quantizers.mixture import Averaged, RandomChoice
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.quantizers.sign_swish import SignSwish
from quantlab.quantizers.stochastic_rounding import StochasticRounding
from quantlab.scales import (
    AbsoluteMean,
    FanIn,
    Largest,
    LearnedStep,
    LeastSquares,
    Scale,
    TernaryWeight,
)
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT

UNEVEN = (-2.0, -0.5, -0.4, 3.0)
every_set = pytest.mark.parametrize("levels", [BINARY, TERNARY, QUATERNARY, UNEVEN], ids=str)

DELTA = 0.5
GRID = tuple(DELTA * k for k in range(-40, 41))
"""A grid of which nothing below reaches the ends."""
NARROW_GRID = tuple(DELTA * k for k in range(-7, 9))
"""From -3.5 to 4: five standard deviations of what moves on it, and faster."""
SHARES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
"""Places in a gap; a level drawn with these probabilities is not missed in 40,000 draws."""


RULES = [
    AbsoluteMean(),
    FanIn(),
    Largest(),
    LearnedStep(),
    LeastSquares(),
    TernaryWeight(),
    TernaryWeight(two_sided=True),
]
"""All scales whose `leave` is the inverse of `enter`."""


def optimizer_of(
    weight: nn.Parameter, quantizer: Quantizer, rule: UpdateRule, alpha: float
) -> LatentOptimizer:
    return LatentOptimizer(
        {"weight": (weight, quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=alpha),
        rule=rule,
        sharpness=lambda step: 0.0,
    )


def neighbours(latent: Tensor, levels: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """The highest level below and the lowest one above each entry, the same one at a level."""
    inside = latent.clamp(levels[0], levels[-1]).tolist()
    low = [max(level for level in levels if level <= value) for value in inside]
    high = [min(level for level in levels if level >= value) for value in inside]
    return latent.new_tensor(low), latent.new_tensor(high)


def assert_mean(samples: Tensor, mean: Tensor, variance: Tensor) -> None:
    """The mean over the first axis is right, to 5 standard errors."""
    error = 5 * (variance / len(samples)).sqrt() + 1e-12
    assert ((samples.mean(dim=0) - mean).abs() <= error).all()


@every_set
def test_t15_stochastic_rounding_is_unbiased_with_the_variance_of_a_coin(
    levels: tuple[float, ...],
) -> None:
    """Mean w* clipped to [q_1, q_b], variance (w* - q_k)(q_{k+1} - w*), values q_k and q_{k+1}."""
    torch.manual_seed(0)
    gaps = [high - low for low, high in itertools.pairwise(levels)]
    inner = [q + share * gap for q, gap in zip(levels, gaps, strict=False) for share in SHARES]
    latent = torch.tensor([levels[0] - 0.7, *levels, *inner, levels[-1] + 5], dtype=torch.float64)
    images = StochasticRounding(levels=levels).prox(latent.expand(40_000, -1), 0.0)
    low, high = neighbours(latent, levels)
    assert torch.equal(images.amin(dim=0), low)
    assert torch.equal(images.amax(dim=0), high)
    assert set(images.flatten().tolist()) == set(levels)
    mean = latent.clamp(levels[0], levels[-1])
    variance = (mean - low) * (high - mean)
    assert_mean(images, mean, variance)
    up = torch.where(high > low, (mean - low) / (high - low), 0.0)
    variance_of_square = variance * ((high - low) * (1 - 2 * up)) ** 2
    assert_mean((images - mean).square(), variance, variance_of_square)


@pytest.mark.parametrize("scale", RULES, ids=repr)
def test_stochastic_rounding_with_a_scale_is_unbiased_between_the_levels_of_the_row(
    scale: Scale,
) -> None:
    """Also if the nearest level changes elsewhere than in the middle, as TWN's does."""
    torch.manual_seed(0)
    rows = torch.randn(2, 15, dtype=torch.float64) * torch.tensor([[1.0], [0.2]])
    learned = scale.initial(rows, TERNARY) if scale.num_learned(TERNARY) else None
    placed = Placed(StochasticRounding(TERNARY), scale.place(rows, TERNARY, learned), 15)
    levels = placed.placement.levels(TERNARY)
    images = placed.weights(rows.flatten().expand(40_000, -1), 0.0).view(-1, 2, 15)
    for row, own, found in zip(rows, levels, images.unbind(dim=1), strict=True):
        assert set(found.flatten().tolist()) == set(own.tolist())
        low, high = neighbours(row, tuple(own.tolist()))
        mean = row.clamp(own[0], own[-1])
        assert_mean(found, mean, (mean - low) * (high - mean))


def test_t15_entries_and_calls_draw_independently_and_follow_the_seed() -> None:
    """For independent fair coins -1, 1 the mean of n products has standard error 1 / sqrt(n)."""
    latent = torch.zeros(40_000, dtype=torch.float64)
    quantizer = StochasticRounding(levels=BINARY)
    torch.manual_seed(1)
    first, second = quantizer.prox(latent, 0.0), quantizer.prox(latent, 7.0)
    for pair in (first * second, first[1:] * first[:-1]):
        assert abs(pair.mean().item()) <= 5 / math.sqrt(len(pair))
    torch.manual_seed(1)
    assert torch.equal(quantizer.prox(latent, 0.0), first)


@pytest.mark.parametrize("levels", [GRID, tuple(2.0 * q for q in UNEVEN)], ids=["even", "uneven"])
@pytest.mark.parametrize("alpha", [0.3, 0.05, 0.002])
def test_t16_lemma_1_bounds_the_rounding_error_of_a_step(
    levels: tuple[float, ...], alpha: float
) -> None:
    """E ||r||^2 <= sqrt(d) Delta alpha ||g||, r = Q(w - alpha g) - (w - alpha g), w in Q^d.

    On uneven sets Delta is the largest gap. With g of equal magnitudes, on the grid, the two
    sides differ by the factor 1 - alpha |g_i| / Delta alone, so that the bound cannot be improved.
    """
    torch.manual_seed(2)
    dimension = 12
    widest = max(high - low for low, high in itertools.pairwise(levels))
    quantizer = StochasticRounding(levels=levels)
    start = torch.tensor(levels[1:-1], dtype=torch.float64)
    start = start[torch.randint(len(start), (dimension,))]
    uneven = torch.randn(dimension, dtype=torch.float64)
    signs = torch.randn(dimension, dtype=torch.float64).sign()
    for gradient in (uneven, signs):
        stepped = (start - alpha * gradient).expand(20_000, -1)
        squares = (quantizer.prox(stepped, 0.0) - stepped).square().sum(dim=1)
        bound = math.sqrt(dimension) * widest * alpha * gradient.norm().item()
        slack = 5 * (squares.std() / math.sqrt(len(squares))).item()
        assert squares.mean().item() <= bound + slack
        if levels is GRID and gradient is signs:
            tight = bound * (1 - alpha / DELTA)
            assert squares.mean().item() == pytest.approx(tight, abs=slack)


def test_t17_deterministic_rounding_stalls_below_half_a_level() -> None:
    """PROX_QUANT with the projector stays for ever if and only if |alpha g| < Delta / 2.

    The steps are exact in binary arithmetic. At a tie the projector goes up: a step down of just
    Delta / 2 is undone, a step up of as much is completed.
    """
    alpha = 0.25
    moves = torch.arange(-72, 73, dtype=torch.float64) / 128  # alpha g, from -0.5625 to 0.5625
    weight = nn.Parameter(torch.zeros_like(moves))
    optimizer = optimizer_of(weight, Nearest(levels=GRID), PROX_QUANT, alpha)
    for step in range(1, 31):
        weight.grad = moves / alpha
        optimizer.step()
        stays = (weight == 0).tolist()
        assert stays == [-DELTA / 2 < move <= DELTA / 2 for move in moves.tolist()]
        strict = moves.abs() != DELTA / 2
        expected = -step * DELTA * torch.round(moves / DELTA)
        assert torch.equal(weight.detach()[strict], expected[strict])


def test_t17_stalls_far_from_the_minimum_which_stochastic_rounding_reaches() -> None:
    """f = (x - 0.3)^2 / 2 with alpha = 0.1: R stops at |x - 0.3| < Delta / (2 alpha) = 2.5."""
    torch.manual_seed(3)
    starts = torch.tensor([-8.0, -2.5, -2.0, 0.0, 2.5, 3.0, 8.0], dtype=torch.float64)
    expected = torch.tensor([-2.0, -2.0, -2.0, 0.0, 2.5, 2.5, 2.5], dtype=torch.float64)
    copies = 2_000
    ends = []
    for quantizer in (Nearest(levels=GRID), StochasticRounding(levels=GRID)):
        weight = nn.Parameter(starts.repeat(copies, 1))
        optimizer = optimizer_of(weight, quantizer, PROX_QUANT, alpha=0.1)
        for _ in range(150):
            weight.grad = weight.detach() - 0.3
            optimizer.step()
        ends.append(weight.detach().clone())
    assert torch.equal(ends[0], expected.expand(copies, -1))
    assert_mean(ends[1], torch.full_like(starts, 0.3), ends[1].var(dim=0))


COPIES = 10_000
ALPHAS = (0.1, 0.05, 0.025, 0.0125)


def noisy_descent(quantizer: Quantizer, rule: UpdateRule, alpha: float) -> tuple[Tensor, Tensor]:
    """Many copies of SGD on (x - 0.3)^2 / 2, noise U(-3, 3), long after the start: (w, w*)."""
    torch.manual_seed(4)
    weight = nn.Parameter(torch.zeros(COPIES, dtype=torch.float64))
    optimizer = optimizer_of(weight, quantizer, rule, alpha)
    for _ in range(math.ceil(8 / alpha)):  # the start is forgotten like exp(-alpha t)
        weight.grad = weight.detach() - 0.3 + 6 * torch.rand(COPIES, dtype=torch.float64) - 3
        optimizer.step()
    proximal = weight.detach().clone()
    with optimizer.weights_at(Point.LATENT):
        return proximal, weight.detach().clone()


@pytest.mark.parametrize("alpha", ALPHAS)
def test_t18_the_noise_floor_of_stochastic_rounding_does_not_see_the_step_size(
    alpha: float,
) -> None:
    """E (x - 0.3)^2 = 9 Delta / (12 - Delta), a standard deviation of 0.6255, at every alpha.

    While |alpha g| <= Delta the grid is left up or down with probability alpha |g| / Delta: alpha
    only stretches time. For V = E d^2, d = x - 0.3, stationarity says 2 V = Delta E |d + noise|,
    and E |d + noise| = (d^2 + 9) / 6 for |d| <= 3.
    """
    weights, _ = noisy_descent(StochasticRounding(levels=NARROW_GRID), PROX_QUANT, alpha)
    squares = (weights - 0.3).square()
    floor = torch.tensor(9 * DELTA / (12 - DELTA), dtype=torch.float64)
    assert floor.sqrt().item() == pytest.approx(0.62554, abs=1e-5)
    assert_mean(squares, floor, squares.var())
    assert_mean(weights, torch.tensor(0.3, dtype=torch.float64), squares.mean())


def test_t18_the_latents_of_binaryconnect_settle_with_the_step_size() -> None:
    """Their spread falls at least like sqrt(alpha), and BinaryConnect's w comes to the best grid.

    As long as they cross several cells, the spread is that of SGD without quantization,
    sqrt(3 alpha / (2 - alpha)). Within the two cells about the tie at 0.25, where the mean
    gradient is -0.3 or 0.2, their law is exponential with mean 5 alpha below and 7.5 alpha above,
    a standard deviation of sqrt(81.25) alpha; w is then 0 or 0.5 with mean 0.3.
    """
    spread = {}
    for alpha in (*ALPHAS, 0.00625):
        weights, latents = noisy_descent(Nearest(levels=NARROW_GRID), PROX_CONNECT, alpha)
        spread[alpha] = latents.std().item()
    for alpha in ALPHAS[:2]:
        assert spread[alpha] == pytest.approx(math.sqrt(3 * alpha / (2 - alpha)), rel=0.025)
    for coarse, fine in itertools.pairwise(spread):
        assert spread[fine] < spread[coarse] / 1.4
    assert spread[0.00625] == pytest.approx(math.sqrt(81.25) * 0.00625, rel=0.03)
    assert weights.mean().item() == pytest.approx(0.3, abs=0.01)
    assert weights.std().item() == pytest.approx(math.sqrt(0.3 * 0.2), rel=0.01)


scales = st.one_of(st.just(0.0), st.floats(0.01, 3))
plain_members = st.one_of(
    st.just(Nearest()),
    st.just(BinaryRelax()),
    st.builds(
        PiecewiseLinear,
        rho_scale=scales,
        varrho_scale=scales,
        relative=st.booleans(),
    ),
)


def normalized(weights: Sequence[int]) -> tuple[float, ...]:
    return tuple(weight / sum(weights) for weight in weights)


@st.composite
def averages(draw: st.DrawFn) -> Averaged:
    """Averages of one to four maps, on a random one of the sets."""
    members = draw(st.lists(plain_members, min_size=1, max_size=4))
    size = len(members)
    weights = draw(st.lists(st.integers(0, 9), min_size=size, max_size=size).filter(any))
    levels = draw(st.sampled_from([BINARY, TERNARY, QUATERNARY, UNEVEN]))
    return Averaged(levels=levels, members=tuple(members), alphas=normalized(weights))


@given(
    quantizer=averages(),
    sharpness=st.one_of(st.just(0.0), st.floats(1e-6, 5)),
    values=st.lists(st.floats(-8, 8), min_size=2, max_size=40),
)
@settings(deadline=None)
def test_t12_an_average_of_proximal_maps_is_proximal(
    quantizer: Averaged, sharpness: float, values: list[float]
) -> None:
    """Theorem 3.2: monotone, hence proximal; it fixes Q, and tends to the projector."""
    latent = torch.tensor(sorted(values), dtype=torch.float64)
    assert (quantizer.prox(latent, sharpness).diff() >= -1e-9).all()  # L is steep near its limit
    fixed = torch.tensor(quantizer.levels, dtype=torch.float64)
    torch.testing.assert_close(quantizer.prox(fixed, sharpness), fixed, rtol=0, atol=1e-14)
    hard = quantizer.hard(latent)
    distance = (latent[:, None] - fixed).abs()
    torch.testing.assert_close((latent - hard).abs(), distance.min(dim=1).values)
    still = [
        member
        for member in quantizer.members
        if isinstance(member, PiecewiseLinear) and member.rho_scale == member.varrho_scale == 0
    ]
    if not still:  # L_0^0 is clipping, whatever the sharpness
        torch.testing.assert_close(quantizer.prox(latent, 1e15), hard, rtol=0, atol=1e-13)


def test_t12_the_average_is_the_weighted_sum() -> None:
    """By hand, at w* = 0.4 and sharpness 0.1: 0.25 * 0.3 + 0.75 * 0.4 / 1.1."""
    mixture = Averaged(members=(PiecewiseLinear(), BinaryRelax()), alphas=(0.25, 0.75))
    image = mixture.prox(torch.tensor([0.4], dtype=torch.float64), 0.1)
    assert image.item() == pytest.approx(0.25 * 0.3 + 0.75 * 0.4 / 1.1, abs=1e-15)


@every_set
def test_t12_the_mean_of_random_choices_is_the_average(levels: tuple[float, ...]) -> None:
    """To 5 standard errors, and every draw is one member's image, for all weights alike."""
    torch.manual_seed(5)
    members = (PiecewiseLinear(rho_scale=0.5), BinaryRelax(), Nearest())
    alphas = (0.2, 0.5, 0.3)
    choice = RandomChoice(levels=levels, members=members, alphas=alphas)
    latent = torch.linspace(levels[0] - 0.3, levels[-1] + 0.3, 41, dtype=torch.float64)
    images = torch.stack([member.prox(latent, 0.15) for member in choice.members])
    draws = torch.stack([choice.prox(latent, 0.15) for _ in range(8_000)])
    chosen = (draws[:, None] == images).all(dim=2)
    assert torch.equal(chosen.sum(dim=1), torch.ones(len(draws), dtype=torch.int64))
    share = torch.tensor(alphas, dtype=torch.float64)
    assert_mean(chosen.double(), share, share * (1 - share))
    average = Averaged(levels=levels, members=members, alphas=alphas).prox(latent, 0.15)
    variance = (share[:, None] * (images - average).square()).sum(dim=0)
    assert_mean(draws, average, variance)


@pytest.mark.parametrize("mixture", [Averaged, RandomChoice])
def test_t12_a_mixture_gives_its_levels_to_its_members(mixture: type[Averaged]) -> None:
    inner = Averaged(levels=BINARY, members=(Nearest(levels=BINARY),), alphas=(1,))
    quantizer = mixture(levels=QUATERNARY, members=(PiecewiseLinear(rho_scale=2), inner))
    assert [member.levels for member in quantizer.members] == [QUATERNARY, QUATERNARY]
    first, second = quantizer.members
    assert isinstance(first, PiecewiseLinear)
    assert first.rho_scale == 2
    assert isinstance(second, Averaged)
    assert second.members == (Nearest(levels=QUATERNARY),)
    image = quantizer.prox(torch.tensor([-9.0, -0.31, 0.29, 9.0], dtype=torch.float64), 9.0)
    expected = torch.tensor(QUATERNARY, dtype=torch.float64)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-15)


def test_t12_a_mixture_is_random_or_annealed_if_a_member_is() -> None:
    for members, annealed, random in (
        ((Nearest(), Nearest()), False, False),
        ((Nearest(), PiecewiseLinear()), True, False),
        ((StochasticRounding(), Nearest()), False, True),
    ):
        average = Averaged(members=members, alphas=(0.5, 0.5))
        assert (average.annealed, average.random) == (annealed, random)
        choice = RandomChoice(members=members, alphas=(0.5, 0.5))
        assert (choice.annealed, choice.random) == (annealed, True)


def test_t12_a_mixture_fixes_levels_and_is_monotone_if_all_members_are() -> None:
    for member, fixes, is_monotone in (
        (PiecewiseLinear(BINARY), True, True),
        (ShiftedTanh(BINARY), False, True),
        (SignSwish(), False, False),
    ):
        mixture = Averaged(BINARY, (member, Nearest(BINARY)), (0.9, 0.1))
        assert (mixture.fixes_levels, mixture.is_monotone) == (fixes, is_monotone)
        require_contract(mixture)


@pytest.mark.parametrize("mixture", [Averaged, RandomChoice])
@pytest.mark.parametrize(
    ("members", "alphas", "message"),
    [
        ((), (), r"members = \(\): must be a sequence of at least one Quantizer"),
        (Nearest(), (1.0,), r"members = Nearest\(.*\): must be a sequence"),
        ((Nearest(), Nearest()), 0.5, r"alphas = 0\.5: must be 2 numbers"),
        ((Nearest(), Nearest()), ("a", "b"), r"alphas = \('a', 'b'\): must be 2 numbers"),
        ((Nearest(), "sign"), (0.5, 0.5), r"members = .*'sign'.*: must be"),
        (
            (Nearest(), Nearest()),
            (1.0,),
            r"alphas = \(1\.0,\): must be 2 numbers >= 0 that sum to 1",
        ),
        ((Nearest(),), (0.5, 0.5), r"alphas = \(0\.5, 0\.5\): must be 1 numbers"),
        ((Nearest(), Nearest()), (0.5, 0.6), r"alphas = \(0\.5, 0\.6\)"),
        ((Nearest(), Nearest()), (-0.5, 1.5), r"alphas = \(-0\.5, 1\.5\)"),
        ((Nearest(), Nearest()), (math.nan, 1.0), r"alphas = \(nan, 1\.0\)"),
        ((Nearest(), Nearest()), (math.inf, 0.0), r"alphas = \(inf, 0\.0\)"),
        ((Nearest(), Softmax()), (0.5, 0.5), "members = .* but Softmax has 3"),
    ],
)
def test_t12_bad_mixtures_are_named(
    mixture: type[Averaged], members: Any, alphas: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{mixture.__name__}\.{message}"):
        mixture(members=members, alphas=alphas)
