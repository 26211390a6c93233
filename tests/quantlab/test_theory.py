"""The theory of the ProxConnect paper, sections 4 and 5 and appendix A, on the real optimizer.

Formulas are the paper's, with its slips corrected where a test says so. r and P = P_r are local to
the tests: what is tested is that the trajectories of LatentOptimizer are those of which the theory
speaks.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantlab import Point, Quantizer, UpdateRule
from quantlab.models.resnet import ResNet
from quantlab.models.weights import quantized_weights
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantization_sets import BINARY, QUATERNARY, TERNARY, nearest_level
from quantlab.quantizers.base import Sharpness
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Constant, InversePi, Linear
from quantlab.update_rules import PROX_CONNECT, PROX_QUANT

LASSO = 0.05
"""c in r(w) = c ||w||_1, the regularizer of the convex problems."""


@dataclass(frozen=True)
class SoftThreshold(Quantizer):
    """P_r^m for r = c ||w||_1, with the sharpness as m: the argmin of (w - w*)^2 / (2m) + r(w)."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        return torch.sign(latent) * torch.relu(latent.abs() - LASSO * sharpness)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def optimizer_of(
    weight: nn.Parameter,
    quantizer: Quantizer,
    rule: UpdateRule,
    *,
    eta: float = 1.0,
    sharpness: Callable[[int], float],
    averaging: Callable[[int], float] | None = None,
) -> LatentOptimizer:
    return LatentOptimizer(
        {"weight": (weight, quantizer)},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=eta),
        rule=rule,
        sharpness=sharpness,
        averaging=averaging,
    )


def descend(optimizer: LatentOptimizer, weight: nn.Parameter, gradient: Tensor, eta: float) -> None:
    """One step with a step size of its own."""
    optimizer.param_groups[0]["lr"] = eta
    weight.grad = gradient
    optimizer.step()


def weights_at(optimizer: LatentOptimizer, weight: nn.Parameter, point: Point) -> Tensor:
    with optimizer.weights_at(point):
        return weight.detach().clone()


class LeastSquares:
    """l(w) = ||A w - b||^2 / (2n), and the minimizer of f = l + r, found by proximal gradient."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.matrix = torch.randn(30, 8, dtype=torch.float64)
        truth = tensor(1, -2, 0, 0, 0.5, 0, 0, 0)
        self.aim = self.matrix @ truth + 0.1 * torch.randn(30, dtype=torch.float64)

    def gradient(self, weights: Tensor) -> Tensor:
        """At every row of `weights`."""
        return (weights @ self.matrix.T - self.aim) @ self.matrix / 30

    def value(self, weights: Tensor) -> Tensor:
        """f at every row of `weights`."""
        loss = (weights @ self.matrix.T - self.aim).square().sum(dim=-1) / 60
        return loss + LASSO * weights.abs().sum(dim=-1)

    def minimizer(self) -> Tensor:
        """By ProxQuant, which with a convex r and a constant P_r^eta is proximal gradient."""
        weight = nn.Parameter(torch.zeros(8, dtype=torch.float64))
        optimizer = optimizer_of(weight, SoftThreshold(), PROX_QUANT, sharpness=lambda step: 0.3)
        for _ in range(1_000):
            descend(optimizer, weight, self.gradient(weight.detach()), 0.3)
        best = weight.detach().clone()
        slope = self.gradient(best)
        inside = best == 0
        assert (slope[inside].abs() < LASSO).all()
        torch.testing.assert_close(
            slope[~inside], -LASSO * best[~inside].sign(), rtol=0, atol=1e-13
        )
        return best


@dataclass(frozen=True)
class ElasticNet(Quantizer):
    """P_r^m for r = c ||w||_1 + ||w||^2 / 2, with the sharpness as m."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        return SoftThreshold().prox(latent, sharpness) / (1 + sharpness)


@pytest.mark.parametrize(
    "step_size",
    [lambda t: 2 / (t + 2), lambda t: 1 / (t + 1), lambda t: 2 / (t + 3)],
    ids=["2/(t+2)", "1/(t+1)", "2/(t+3)"],
)
def test_t24_proxconnect_is_the_generalized_conditional_gradient_on_the_dual(
    step_size: Callable[[int], float],
) -> None:
    """(25)-(26) with mu_t = pi_{t-1} give the w_t of (29) with eta_t = lambda_t / pi_t, to 1e-11.

    The latents differ by the factor pi_{t-1}. (25) takes the gradient of the Moreau envelope of r*
    (the main text prints r**, Proposition A.2 has it right); here r* is (|w*| - c)_+^2 / 2 and the
    envelope (|w*| - c)_+^2 / (2 (1 + mu)). With lambda_0 = 1, 1 / pi_{-1} is 0 and the start is
    forgotten at once; with lambda_0 < 1 it counts.
    """
    problem = LeastSquares()
    lambdas = [step_size(t) for t in range(300)]
    inverse_pi = [1 - lambdas[0], 1.0]  # 1 / pi_{t-1} at index t
    for lam in lambdas[1:]:
        inverse_pi.append(inverse_pi[-1] / (1 - lam))
    dual = torch.linspace(-1, 1, 8, dtype=torch.float64)
    weight = nn.Parameter(inverse_pi[0] * dual)
    optimizer = optimizer_of(weight, ElasticNet(), PROX_CONNECT, sharpness=inverse_pi.__getitem__)
    for t, lam in enumerate(lambdas):
        mu = 1 / inverse_pi[t] if inverse_pi[t] else math.inf
        primal = (dual - dual.clamp(-LASSO, LASSO)) / (1 + mu)
        torch.testing.assert_close(weight.detach(), primal, rtol=0, atol=1e-11)
        dual = (1 - lam) * dual - lam * problem.gradient(primal)
        eta = lam * inverse_pi[t + 1]
        descend(optimizer, weight, problem.gradient(weight.detach()), eta)
        latent = weights_at(optimizer, weight, Point.LATENT)
        torch.testing.assert_close(latent / inverse_pi[t + 1], dual, rtol=0, atol=1e-11)
    # Both come to the minimum of l + r, where w* is -gradient(w) and a subgradient of r at w.
    slope = -problem.gradient(weight.detach())
    torch.testing.assert_close(dual, slope, rtol=0, atol=0.005)
    shrunk = slope - slope.clamp(-LASSO, LASSO)
    torch.testing.assert_close(weight.detach(), shrunk, rtol=0, atol=0.005)


def test_t24_the_reparameterization_of_the_step_size() -> None:
    """(28), exactly: 1 / pi_t = 1 + sum eta and lambda_t = eta_t / (1 + sum eta), sums over 1..t.

    InversePi counts eta_0 too: it is 1 / pi_{t-1} + eta_0, for the constant step of T26.
    """
    lambdas = [Fraction(k, 11) for k in (4, 2, 7, 1, 10, 3, 3, 8)]
    pi, etas = Fraction(1), [lambdas[0]]
    for lam in lambdas[1:]:
        pi *= 1 - lam
        etas.append(lam / pi)
        assert 1 / pi == 1 + sum(etas[1:])
        assert lam == etas[-1] / (1 + sum(etas[1:]))
    schedule = InversePi(1.0, eta=Constant(0.25))
    for t in range(1, 9):
        assert schedule.at(t, 5) == 1 + 0.25 * (t - 1) + 0.25


@dataclass(frozen=True)
class Arbitrary(Quantizer):
    """Neither monotone nor continuous: no proximal map at all."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        return torch.round(3 * latent) / 3 + 0.2 * sharpness * torch.sin(9 * latent)


def regularizer(weights: Tensor) -> Tensor:
    """A nonconvex r, with nothing to do with P."""
    distance = (weights - nearest_level(weights, QUATERNARY)).abs()
    return (distance + torch.cos(4 * weights)).sum()


def both_sides(
    rule: UpdateRule, quantizer: Quantizer, start: int, steps: int = 40
) -> tuple[float, float]:
    """The two sides of (32) along a noisy trajectory on a nonconvex loss."""
    torch.manual_seed(1)
    weight = nn.Parameter(torch.randn(6, dtype=torch.float64))
    etas = [0.02 * (1 + t % 4) for t in range(steps)]
    inverse_pi = [1 - etas[0], *itertools.accumulate(etas[1:], initial=1.0)]  # 1 / pi_{t-1} at t
    optimizer = optimizer_of(weight, quantizer, rule, sharpness=inverse_pi.__getitem__)
    iterates, gradients = [weight.detach().clone()], []
    latents = [weights_at(optimizer, weight, Point.LATENT)]
    for eta in etas:
        loss = torch.cos(3 * weight).sum() + torch.sin(weight.prod())
        (gradient,) = torch.autograd.grad(loss, weight)
        gradients.append(gradient + torch.randn(6, dtype=torch.float64))
        descend(optimizer, weight, gradients[-1].clone(), eta)
        iterates.append(weight.detach().clone())
        latents.append(weights_at(optimizer, weight, Point.LATENT))
    fixed = torch.randn(6, dtype=torch.float64)

    def delta(tau: int, at: Tensor) -> float:
        """Delta_tau(w), of r_tau = r / pi_tau + ||.||^2 / 2."""
        following, latent = iterates[tau + 1], latents[tau + 1]
        scale = inverse_pi[tau + 1]
        value = scale * (regularizer(at) - regularizer(following))
        value += (at.square().sum() - following.square().sum()) / 2
        return (value - (at - following) @ latent).item()

    summands = [
        eta * ((w - fixed) @ g + regularizer(w) - regularizer(fixed)).item()
        for eta, w, g in zip(etas, iterates, gradients, strict=False)
    ]
    others = [delta(start - 1, fixed), -delta(steps - 1, fixed)]
    others += [delta(tau, iterates[tau]) for tau in range(start, steps)]
    return math.fsum(summands[start:]), math.fsum(others)


@pytest.mark.parametrize("start", [0, 1, 3])
@pytest.mark.parametrize(
    "quantizer",
    [Arbitrary(), Nearest(), PiecewiseLinear(rho_scale=0.1, varrho_scale=0.1)],
    ids=["any", "P_Q", "L"],
)
def test_t25_theorem_5_1_is_an_equality(quantizer: Quantizer, start: int) -> None:
    """Printed as <=. It needs nothing of P, r, l or the noise, but it does need the latents.

    So ProxQuant's trajectory does not obey it.
    """
    left, right = both_sides(PROX_CONNECT, quantizer, start)
    assert abs(left) > 0.1
    assert left == pytest.approx(right, rel=1e-13)
    left, right = both_sides(PROX_QUANT, quantizer, start)
    assert abs(left - right) > 0.1 * abs(right)


def divergence(inverse_pi: float, at: Tensor, iterate: Tensor, latent: Tensor) -> float:
    """Delta(w) of r / pi + ||.||^2 / 2 with the lasso's r, for an iterate and its latent."""

    def value(w: Tensor) -> Tensor:
        return inverse_pi * LASSO * w.abs().sum() + w.square().sum() / 2

    return (value(at) - value(iterate) - (at - iterate) @ latent).item()


@pytest.mark.parametrize(
    ("eta", "gaps", "bounds"),
    [
        (0.05, {100: 0.158788, 1_000: 0.00300234}, {100: 0.532682, 1_000: 0.0535827}),
        (0.3, {100: 0.00744752, 1_000: 0.000206311}, {100: 0.0994825, 1_000: 0.0116939}),
    ],
)
def test_t26_corollary_5_2_bounds_the_best_and_the_averaged_iterate(
    eta: float, gaps: dict[int, float], bounds: dict[int, float]
) -> None:
    """(34) and (35) on a lasso from w*_0 = 0 with s = 0, and the average converges to its minimum.

    The right side tends to eta ||gradient||^2 / 2 at the minimizer, not to 0; the gap does.
    """
    problem = LeastSquares()
    best = problem.minimizer()
    weight = nn.Parameter(torch.zeros(8, dtype=torch.float64))
    schedule = InversePi(1.0, eta=Constant(eta))
    optimizer = optimizer_of(
        weight,
        SoftThreshold(),
        PROX_CONNECT,
        sharpness=lambda step: schedule.at(step, 1) - eta,
        averaging=lambda step: eta,
    )
    start = divergence(1 - eta, best, weight.detach(), torch.zeros_like(best))
    least, squares, total = math.inf, 0.0, torch.zeros_like(best)
    for count in range(1, 1_001):
        total += weight.detach()
        least = min(least, (problem.value(weight.detach()) - problem.value(best)).item())
        gradient = problem.gradient(weight.detach())
        squares += eta**2 / 2 * gradient.square().sum().item()
        descend(optimizer, weight, gradient, eta)
        bound = (start + squares) / (eta * count)
        average = weights_at(optimizer, weight, Point.AVERAGED)
        torch.testing.assert_close(average, total / count, rtol=0, atol=1e-12)
        gap = (problem.value(average) - problem.value(best)).item()
        assert least <= bound
        assert 0 <= gap <= bound
        if count in gaps:
            assert gap == pytest.approx(gaps[count], rel=1e-5)
            assert bound == pytest.approx(bounds[count], rel=1e-5)
    torch.testing.assert_close(weight.detach(), best, rtol=0, atol=1e-8)
    torch.testing.assert_close(average, best, rtol=0, atol=0.1)


def test_t26_the_bound_holds_in_expectation_with_noise_and_a_falling_step() -> None:
    """(35) over 200 copies, N(0, 1) noise in each entry of the gradient, iterates weighed by eta.

    200 copies make their mean gap, about a fourteenth of the bound, right to 4 %.
    """
    problem = LeastSquares()
    best = problem.minimizer()
    etas = [0.2 / math.sqrt(1 + t / 20) for t in range(300)]
    inverse_pi = [1 - etas[0], *itertools.accumulate(etas[1:], initial=1.0)]
    weight = nn.Parameter(torch.zeros(200, 8, dtype=torch.float64))
    optimizer = optimizer_of(
        weight,
        SoftThreshold(),
        PROX_CONNECT,
        sharpness=inverse_pi.__getitem__,
        averaging=etas.__getitem__,
    )
    squares = torch.zeros(200, dtype=torch.float64)
    weighted = torch.zeros_like(weight)
    for eta in etas:
        gradient = problem.gradient(weight.detach()) + torch.randn(200, 8, dtype=torch.float64)
        squares += eta**2 / 2 * gradient.square().sum(dim=1)
        weighted += eta * weight.detach()
        descend(optimizer, weight, gradient, eta)
    average = weights_at(optimizer, weight, Point.AVERAGED)
    torch.testing.assert_close(average, weighted.detach() / sum(etas), rtol=0, atol=1e-12)
    start = divergence(1 - etas[0], best, torch.zeros_like(best), torch.zeros_like(best))
    bound = (start + squares.mean().item()) / sum(etas)
    gap = (problem.value(average) - problem.value(best)).mean().item()
    assert 0 < gap < 0.1 * bound


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_t26_the_printed_bound_forgets_that_r_counts_more_at_each_step(share: float) -> None:
    """l = 0 and eta = 1 from w*_0 = share * c: (35) as printed fails for every T.

    Step (92) of its proof conjugates r_tau at w*_tau, but w_tau is the prox of r_{tau-1}. What
    holds is Delta_tau(w_tau) <= eta^2 ||gradient||^2 / 2 + eta (r(w_tau) - r(w_{tau+1})); with a
    step that never grows the additions come to at most eta_s r(w_s), for r >= 0, and so to nothing
    if w_s minimizes r, as in the tests above. Here w_0 = w*_0 and all later iterates are 0.
    """
    begin = share * LASSO
    weight = nn.Parameter(tensor(begin))
    optimizer = optimizer_of(
        weight,
        SoftThreshold(),
        PROX_CONNECT,
        sharpness=lambda step: step,
        averaging=lambda step: 1.0,
    )
    assert weight.item() == begin
    printed = divergence(0.0, tensor(0), tensor(begin), tensor(begin))
    assert printed == pytest.approx(begin**2 / 2)
    missing = LASSO * begin
    for count in range(1, 101):
        descend(optimizer, weight, torch.zeros(1, dtype=torch.float64), 1.0)
        assert weight.item() == 0
        gap = LASSO * weights_at(optimizer, weight, Point.AVERAGED).item()
        assert gap == pytest.approx(missing / count, rel=1e-12)
        assert gap > 1.9 * printed / count
        assert gap < (printed + missing) / count


def test_t26_the_corrected_step_of_the_proof_holds_along_a_trajectory() -> None:
    """Delta_tau(w_tau), on the noisy lasso away from the minimum of r, without and with r."""
    problem = LeastSquares()
    eta = 0.1
    weight = nn.Parameter(torch.full((8,), 1.5, dtype=torch.float64))
    optimizer = optimizer_of(
        weight, SoftThreshold(), PROX_CONNECT, sharpness=lambda step: 1 + eta * (step - 1)
    )
    too_small = 0
    for tau in range(200):
        before = weight.detach().clone()
        gradient = problem.gradient(before) + 0.1 * torch.randn(8, dtype=torch.float64)
        descend(optimizer, weight, gradient.clone(), eta)
        after, latent = weight.detach(), weights_at(optimizer, weight, Point.LATENT)
        delta = divergence(1 + eta * tau, before, after, latent)
        printed = eta**2 / 2 * gradient.square().sum().item()
        growth = eta * LASSO * (before.abs().sum() - after.abs().sum()).item()
        assert delta >= -1e-15
        assert delta <= printed + growth + 1e-15
        too_small += delta > printed + 1e-12
    assert too_small >= 20


def test_t27_the_weights_of_ergodic_averages() -> None:
    """Exactly: lambda = 1/(t+1) weighs all iterates alike, 2/(t+2) the later ones more."""
    uniform = [Fraction(1, t + 1) for t in range(60)]
    rising = [Fraction(2, t + 2) for t in range(60)]
    for lambdas in (uniform, rising):
        pi, etas = Fraction(1), []
        for t, lam in enumerate(lambdas):
            pi *= 1 - lam if t else 1
            etas.append(lam / pi)
            total = sum(etas)
            shares = [eta / total for eta in etas]
            smoothing = sum(a * b for a, b in zip(lambdas, shares, strict=False))
            if lambdas is uniform:
                assert pi == Fraction(1, t + 1)
                assert total == t + 1
                assert set(shares) == {Fraction(1, t + 1)}
                harmonic = sum(Fraction(1, s + 1) for s in range(t + 1))
                assert smoothing == harmonic / (t + 1)  # (67), O(log t / t)
            else:
                assert pi == Fraction(2, (t + 1) * (t + 2))
                assert total == Fraction((t + 1) * (t + 2), 2)
                assert shares == [Fraction(2 * (s + 1), (t + 1) * (t + 2)) for s in range(t + 1)]
                assert smoothing <= Fraction(4, t + 2)  # (70), O(1 / t)


@dataclass(frozen=True)
class Example43(Quantizer):
    """P_r^m of (30) with eps = 1: r(w) = (|w| - 1)^2 / 2 and the sharpness as m."""

    def prox(self, latent: Tensor, sharpness: Sharpness) -> Tensor:
        sign = torch.where(latent >= 0, 1.0, -1.0).to(latent.dtype)
        return sign * (latent.abs() + sharpness) / (1 + sharpness)


@pytest.mark.parametrize("sharpness", [0.1, 1.0, 30.0])
def test_t28_the_map_of_example_4_3_is_the_prox_of_its_r(sharpness: float) -> None:
    latent = torch.linspace(-1, 1, 40, dtype=torch.float64)
    grid = torch.linspace(-2, 2, 40_001, dtype=torch.float64)

    def objective(w: Tensor) -> Tensor:
        return (w - latent[:, None]).square() / (2 * sharpness) + (w.abs() - 1).square() / 2

    reached = objective(Example43().prox(latent, sharpness)[:, None])[:, 0]
    assert (reached <= objective(grid).min(dim=1).values + 1e-14).all()


@pytest.mark.parametrize("growth", [0.0, 0.1], ids=["fixed", "diverging"])
def test_t28_example_4_3_with_a_fixed_and_a_diverging_parameter(growth: float) -> None:
    """l = w^2 / 2 from w*_0 = 0.9 with eta = 0.1, and 1 / pi_t = 1 or 1 + 0.1 t.

    Fixed, |w_t| stays above 1 / (eps + 1) = 0.5 and ends at 0.513 for ever. Diverging, it tends
    to 1: that is what divergence is good for, w in Q. The latents end in a 2-cycle about 0, and
    the average of w_t is (w*_0 - w*_T) / (eta T), which tends to 0, in both cases: what converges
    to 0, the minimum of the convex envelopes, is never w_t.
    """
    eta, steps = 0.1, 10_000
    weight = nn.Parameter(tensor(0.9))
    schedule = InversePi(1.0, eta=Constant(growth))
    optimizer = optimizer_of(
        weight,
        Example43(),
        PROX_CONNECT,
        eta=eta,
        sharpness=lambda step: schedule.at(step, 1),
        averaging=lambda step: 1.0,
    )
    smallest = math.inf
    for _ in range(steps):
        smallest = min(smallest, weight.abs().item())
        weight.grad = weight.detach().clone()
        optimizer.step()
    latent = weights_at(optimizer, weight, Point.LATENT).item()
    average = weights_at(optimizer, weight, Point.AVERAGED).item()
    assert average == pytest.approx((0.9 - latent) / (eta * steps), rel=0, abs=1e-12)
    assert 0 < average < 9.6e-4
    assert smallest > 0.5
    amplitude = weight.abs().item()
    if growth == 0:
        # The 2-cycle: 2 x = eta (x + 1) / 2.
        assert abs(latent) == pytest.approx(eta / (4 - eta), abs=1e-12)
        assert amplitude == pytest.approx((1 + eta / (4 - eta)) / 2, abs=1e-12)
        assert amplitude == pytest.approx(0.513, abs=2e-4)
    else:
        assert abs(latent) == pytest.approx(eta / 2, rel=2e-3)
        assert amplitude == pytest.approx(1 - (1 - eta / 2) / (2 + growth * steps), abs=1e-6)
        assert amplitude > 0.999


def test_t28_the_latents_converge_to_0_with_a_diminishing_step() -> None:
    """eta_t = 0.1 / sqrt(t + 1): |w*_t| <= eta_t in the end, fixed parameter or diverging."""
    for diverging in (False, True):
        weight = nn.Parameter(tensor(0.9))
        etas = [0.1 / math.sqrt(t + 1) for t in range(3_000)]
        inverse_pi = [1.0, *itertools.accumulate(etas, initial=1.0)]
        optimizer = optimizer_of(
            weight,
            Example43(),
            PROX_CONNECT,
            sharpness=inverse_pi.__getitem__ if diverging else lambda step: 1.0,
        )
        for eta in etas:
            descend(optimizer, weight, weight.detach().clone(), eta)
        assert 0 < abs(weights_at(optimizer, weight, Point.LATENT).item()) <= etas[-1]


@pytest.mark.parametrize("eta", [0.1, 0.5])
def test_t28_proxquant_converges_to_the_stationary_point(eta: float) -> None:
    """With P_r^eta it is proximal gradient: w -> 1 / (1 + eps) = 0.5, where (l + r)' = 0."""
    weight = nn.Parameter(tensor(0.9))
    optimizer = optimizer_of(weight, Example43(), PROX_QUANT, eta=eta, sharpness=lambda step: eta)
    for _ in range(400):
        descend(optimizer, weight, weight.detach().clone(), eta)
    assert weight.item() == pytest.approx(0.5, rel=0, abs=1e-14)


B = 391
"""Steps in an epoch of CIFAR: 50,000 images in batches of 128."""


@pytest.mark.parametrize(
    ("levels", "epochs"),
    [
        (BINARY, {5e-3: 199, 1e-2: 99, 2e-2: 49}),
        (TERNARY, {5e-3: 99, 1e-2: 49, 2e-2: 24}),
        (QUATERNARY, {5e-3: 69, 1e-2: 34, 2e-2: 16.5}),
        (QUATERNARY[1:3], {5e-3: 59, 1e-2: 29, 2e-2: 14}),
    ],
    ids=["binary", "ternary", "quaternary", "inner"],
)
def test_t29_the_epoch_from_which_proxconnect_is_binaryconnect(
    levels: tuple[float, ...], epochs: dict[float, float]
) -> None:
    """The map is the projector from this step on, and not one step, hence not one epoch, before.

    The quaternary set waits for its outer gaps; "inner" is its gap between -0.3 and 0.3 alone.
    """
    middles = tensor(*((low + high) / 2 for low, high in itertools.pairwise(levels)))
    closest = torch.cat([middles - 1e-9, middles + 1e-9])
    latent = torch.cat([closest, torch.linspace(-2, 2, 801, dtype=torch.float64)])
    quantizer = PiecewiseLinear(levels=levels)
    hard = quantizer.hard(latent)
    for rho0, epoch in epochs.items():
        schedule = Linear(rho0)
        first = math.ceil(epoch * B)
        for step in (first, first + 1, first + B, 200 * B):
            assert torch.equal(quantizer.prox(latent, schedule.at(step, B)), hard)
        for step in (0, first - B, first - 1):
            soft = quantizer.prox(latent, schedule.at(step, B))
            # Of the outer gaps at least, the entries by the middle are not yet drawn all the way.
            assert (soft[0] - hard[0]).abs() > 1e-6 * (first - step)


def test_t29_values_and_sums_of_the_schedule() -> None:
    """rho_t = (1 + t/B) rho_0 and its sums, at the steps that matter in the experiments."""
    for rho0, total in ((1e-7, 0.79), (5e-7, 3.95), (1e-6, 7.90), (2e-6, 15.8), (1e-5, 79.0)):
        reached = Linear(rho0).cumulative(200 * B, B)
        assert reached == pytest.approx(total, rel=1e-3)
    assert Linear(1e-6).cumulative(200 * B, B) == pytest.approx(7.8981, abs=5e-8)
    # The epoch in which the shifts of ProxQuant have come to 1, the way from 0 to a binary level.
    for rho0, epoch in ((5e-7, 100.0), (1e-6, 70.5), (2e-6, 49.6), (1e-7, 225), (1e-5, 21.6)):
        steps = next(t for t in range(240 * B) if Linear(rho0).cumulative(t, B) >= 1)
        assert steps / B == pytest.approx(epoch, abs=0.2)
    # ImageNet, 5005 steps an epoch: at the hard quantization in epoch 45 or 80.
    for rho0, epoch, rho in ((2e-2, 45, 0.92), (4e-2, 45, 1.84), (2.5e-3, 80, 0.2025)):
        assert Linear(rho0).at(epoch * 5005, 5005) == pytest.approx(rho, rel=1e-12)
    assert [Linear(0.5).at(t, 4) for t in range(6)] == [0.5, 0.625, 0.75, 0.875, 1.0, 1.125]


def test_t29_shifts_add_up_in_proxquant_and_do_not_in_proxconnect() -> None:
    """Without gradients PQ travels by the sum of all rho, PC by the last one: hence the grids."""
    schedule = Linear(1e-3)
    positions = []
    for rule in (PROX_QUANT, PROX_CONNECT):
        weight = nn.Parameter(tensor(0.2, -0.2))
        optimizer = optimizer_of(
            weight,
            PiecewiseLinear(levels=BINARY),
            rule,
            sharpness=lambda step: schedule.at(step, 20),
        )
        for _ in range(100):
            descend(optimizer, weight, torch.zeros(2, dtype=torch.float64), 0.1)
        positions.append(weight.detach().clone())
    away = 0.2 + schedule.cumulative(101, 20)
    torch.testing.assert_close(positions[0], tensor(away, -away), rtol=0, atol=1e-14)
    away = 0.2 + schedule.at(100, 20)
    torch.testing.assert_close(positions[1], tensor(away, -away), rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("quantizer", "rho", "dead", "zeros"),
    [
        (Nearest(levels=BINARY), 0.0, 0, 0.0),
        (Nearest(levels=TERNARY), 0.0, 18, 0.9999),
        (Nearest(levels=QUATERNARY), 0.0, 0, 0.0),
        (PiecewiseLinear(levels=TERNARY), 0.005, 0, 0.0597),
        (PiecewiseLinear(levels=TERNARY), 0.02, 0, 0.2369),
        (PiecewiseLinear(levels=TERNARY), 0.3, 7, 0.9986),
    ],
    ids=["BC-2", "BC-3", "BC-4", "PC-3-0.005", "PC-3-0.02", "PC-3-0.3"],
)
def test_t30_ternary_binaryconnect_is_dead_at_kaiming_initialization(
    quantizer: Quantizer, rho: float, dead: int, zeros: float
) -> None:
    """Convolutions of ResNet20, of 19, whose gradient is exactly zero at the first step.

    Kaiming's weights hardly ever exceed 0.5, so that the ternary projector leaves 30 nonzero ones
    in the first convolution and none in the others. A block of two zero convolutions gets no
    gradient: the second one sees the input ReLU(BN(0)) = 0, the first one has zeros behind it.
    ProxConnect starts far from the projector and so spares all blocks; it kills them too where rho
    comes near the half-gap at once.
    In float32, as nets are trained: an exact zero needs no tolerance.
    """
    torch.manual_seed(0)
    model = ResNet(depth=20).build(num_classes=10, num_channels=3).train()
    images, labels = torch.randn(64, 3, 32, 32), torch.randint(10, (64,))
    weights = quantized_weights(model)
    LatentOptimizer(
        {name: (weight, quantizer) for name, weight in weights.items()},
        [],
        make_base=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
        rule=PROX_CONNECT,
        sharpness=lambda step: rho,
    )
    F.cross_entropy(model(images), labels).backward()
    convolutions = {name: weight for name, weight in weights.items() if weight.dim() == 4}
    assert len(convolutions) == 19
    killed = []
    for name, weight in convolutions.items():
        assert weight.grad is not None
        if not weight.grad.any():
            killed.append(name)
    assert len(killed) == dead
    if dead == 18:
        left = {name: int((weight != 0).sum()) for name, weight in convolutions.items()}
        assert left == dict.fromkeys(killed, 0) | {"conv1.weight": 30}
    flat = torch.cat([weight.detach().flatten() for weight in weights.values()])
    assert len(flat) == 268_336
    assert (flat == 0).double().mean().item() == pytest.approx(zeros, abs=2e-4)
