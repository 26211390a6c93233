"""Each method against its paper's formula, written out with NumPy in float64.

Nothing here is computed by the library's maps. f(w) = |A w - b|^2 / 2 is minimized over 50 steps,
with an annealed beta, a learning rate that drops, and plain gradients or Adam's directions.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from quantlab import OptimizerSpec, Point, Quantization
from quantlab.backward_maps import ReSTE
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.optim.of_recipe import learning_rate_of, optimizer_of
from quantlab.papers.mirror_descent import (
    BC,
    BC_MASKED,
    GD_TANH,
    MD_SOFTMAX,
    MD_SOFTMAX_S,
    MD_TANH,
    MD_TANH_S,
    PMF,
    PMF_AUTHORS,
    PQ,
    TERNARY_STEEPNESS,
)
from quantlab.papers.mirror_descent_settings import Setting
from quantlab.papers.newer_methods import (
    BI_REAL,
    BNN,
    BNN_PLUS,
    BNN_PLUS_PLUS,
    CAGE,
    CAGE_SILENCE,
    NORMAL_MAP,
    RESTE,
    NewerMethod,
)
from quantlab.quantization_sets import BINARY, TERNARY
from quantlab.schedules import Staircase
from tests.quantlab.recipes import small_recipe

Array = npt.NDArray[np.float64]
Gradient = Callable[[Array], Array]
Direction = Callable[[Array], Array]
Trajectory = Iterator[tuple[Array, Array | None]]
"""The weights that the network sees at every step, and the latents where the formula has them."""

STEPS, STEPS_PER_EPOCH = 50, 10
SIZE = 12
RATE, RATE_SCALE, RATE_INTERVAL = 0.05, 0.3, 20
BETA_SCALE, BETA_INTERVAL = 1.2, 7
_RANDOM = np.random.default_rng(5)
MATRIX = np.eye(SIZE) + 0.15 * _RANDOM.standard_normal((SIZE, SIZE))
TARGET = _RANDOM.uniform(-1.5, 1.5, SIZE)
START = _RANDOM.uniform(-1.4, 1.4, SIZE)


def gradient(weights: Array) -> Array:
    return np.asarray(MATRIX.T @ (MATRIX @ weights - TARGET))


def rate(step: int) -> float:
    return float(RATE * RATE_SCALE ** (step // RATE_INTERVAL))


def beta(step: int) -> float:
    """Multiplied right after step 0, and then in every interval."""
    value = 1.0
    for iteration in range(step):
        if iteration % BETA_INTERVAL == 0:
            value *= BETA_SCALE
    return value


def plain() -> Direction:
    return lambda found: found


def adam() -> Direction:
    """The direction m / (sqrt(v) + eps) with bias-corrected moments."""
    first, second, count = np.zeros(1), np.zeros(1), 0

    def direction(found: Array) -> Array:
        nonlocal first, second, count
        count += 1
        first = 0.9 * first + 0.1 * found
        second = 0.999 * second + 0.001 * found**2
        return np.asarray(
            (first / (1 - 0.9**count)) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        )

    return direction


def sign(weights: Array) -> Array:
    return np.where(weights >= 0, 1.0, -1.0)


def nearest(weights: Array, levels: tuple[float, ...]) -> Array:
    distances = np.abs(weights[:, None] - np.array(levels)[None, ::-1])  # a tie goes up
    return np.array(levels)[::-1][distances.argmin(axis=1)]


def softmax(latent: Array) -> Array:
    powers = np.exp(latent - latent.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def shifted_tanh(latent: Array, steepness: float) -> Array:
    """Equation (21)."""
    return np.asarray(
        (np.tanh(steepness * (latent + 0.5)) + np.tanh(steepness * (latent - 0.5))) / 2
    )


def md_tanh(direction: Direction) -> Trajectory:
    """Equation (15), in the primal space."""
    weights = np.tanh(START)
    for k in range(STEPS):
        yield weights, None
        found = direction(gradient(weights))
        grown = (1 + weights) / (1 - weights) * np.exp(-2 * beta(k) * rate(k) * found)
        weights = (grown - 1) / (grown + 1)
    yield weights, None


def md_shifted_tanh(direction: Direction) -> Trajectory:
    """The dual step with the inverse of (21) in closed form, at a fixed steepness."""
    steep = TERNARY_STEEPNESS
    weights = shifted_tanh(START, steep)
    big = np.cosh(steep)
    for k in range(STEPS):
        yield weights, None
        size = np.abs(weights)  # P is odd, and for negative weights the sum would cancel
        root = np.sqrt(big**2 * size**2 + 1 - size**2)
        dual = np.sign(weights) * np.log((big * size + root) / (1 - size)) / (2 * steep)
        dual = dual - beta(k) * rate(k) * direction(gradient(weights))
        weights = np.sinh(2 * steep * dual) / (np.cosh(2 * steep * dual) + big)
    yield weights, None


def md_softmax(direction: Direction, levels: tuple[float, ...]) -> Trajectory:
    """Equation (20), exponentiated gradient descent, in the primal space."""
    q = np.array(levels)
    u = softmax(START[:, None] * q - q**2 / 2)
    for k in range(STEPS):
        yield u @ q, None
        found = direction(gradient(u @ q)[:, None] * q)
        u = u * np.exp(-beta(k) * rate(k) * found)
        u = u / u.sum(axis=1, keepdims=True)
    yield u @ q, None


def dual_softmax(direction: Direction, levels: tuple[float, ...], jacobian: str = "") -> Trajectory:
    """Equation (23) with the softmax; with a Jacobian, proximal mean-field."""
    q = np.array(levels)
    latent = START[:, None] * q - q**2 / 2
    for k in range(STEPS):
        u = softmax(beta(k) * latent)
        yield u @ q, None
        found = gradient(u @ q)[:, None] * q
        if jacobian:
            diagonal = np.eye(len(q)) if jacobian == "I" else u[:, :, None] * np.eye(len(q))
            whole = beta(k) * (diagonal - u[:, :, None] * u[:, None, :])
            found = np.einsum("nij,nj->ni", whole, found)
        latent = latent - rate(k) * direction(found)
    yield softmax(beta(STEPS) * latent) @ q, None


def dual_tanh(direction: Direction, *, num_levels: int, descent: bool) -> Trajectory:
    """Equation (23) with tanh (12) or shifted tanh (21); with `descent`, GD-tanh."""
    latent = START.copy()
    for k in range(STEPS):
        if num_levels == 2:
            weights = np.tanh(beta(k) * latent)
            slope = beta(k) * (1 - weights**2)
        else:
            one, two = np.tanh(beta(k) * (latent + 0.5)), np.tanh(beta(k) * (latent - 0.5))
            weights = (one + two) / 2
            slope = beta(k) / 2 * (2 - one**2 - two**2)
        yield weights, latent
        found = gradient(weights) * (slope if descent else 1)
        latent = latent - rate(k) * direction(found)
    last = np.tanh(beta(STEPS) * latent)
    yield last if num_levels == 2 else shifted_tanh(latent, beta(STEPS)), latent


def binary_connect(
    direction: Direction,
    factor: Callable[[Array, int], Array] = lambda latent, k: np.ones(SIZE),
    levels: tuple[float, ...] = BINARY,
) -> Trajectory:
    """The gradient at the projection; ProxConnect++ multiplies it by a factor."""
    latent = START.copy()
    for k in range(STEPS):
        weights = nearest(latent, levels)
        yield weights, latent
        latent = latent - rate(k) * direction(gradient(weights) * factor(latent, k))
    yield nearest(latent, levels), latent


PQ_RATE = 0.4


def strength(k: int) -> float:
    """Learning rate times rate times epoch, as ProxQuant's code has it."""
    return rate(k) * PQ_RATE * (k // STEPS_PER_EPOCH)


def prox_quant(direction: Direction, levels: tuple[float, ...]) -> Trajectory:
    """The code's maps, and its clipping afterwards: equation (24)."""

    def prox(weights: Array, k: int) -> Array:
        reg = strength(k)
        if len(levels) == 2:
            distance = np.abs(np.abs(weights) - 1)
            shrunk = np.maximum(distance - reg, 0) * np.sign(np.abs(weights) - 1)
            moved = np.sign(weights) * (shrunk + 1)
        else:
            moved = (weights + reg * nearest(weights, levels)) / (1 + reg)
        return np.clip(moved, -1, 1)

    # The map of the binary set clips the initial weights, too.
    weights = np.clip(START, -1, 1) if len(levels) == 2 else START
    for k in range(STEPS):
        yield weights, None
        weights = prox(weights - rate(k) * direction(gradient(weights)), k + 1)
    yield weights, None


def sign_swish(latent: Array, b: float) -> Array:
    logistic = 1 / (1 + np.exp(-b * latent))
    return np.asarray(2 * logistic * (1 + b * latent * (1 - logistic)) - 1)


def sign_swish_slope(latent: Array, b: float) -> Array:
    inner = b * latent
    return np.asarray(b * (2 - inner * np.tanh(inner / 2)) / (1 + np.cosh(inner)))


BNN_PLUS_STEEPNESS, BNN_PLUS_PLUS_STEEPNESS, LAST_ORDER = 3.0, 1.5, 3.0
CAP = 1.5  # lower than the default, as the steep factor near 0 would enlarge rounding errors


def bnn_plus_plus(direction: Direction) -> Trajectory:
    """SignSwish in both directions, steeper by b in every epoch."""
    latent = START.copy()
    for k in range(STEPS):
        b = BNN_PLUS_PLUS_STEEPNESS * (1 + k / STEPS_PER_EPOCH)
        weights = sign_swish(latent, b)
        yield weights, latent
        latent = latent - rate(k) * direction(gradient(weights) * sign_swish_slope(latent, b))
    yield sign_swish(latent, BNN_PLUS_PLUS_STEEPNESS * (1 + STEPS / STEPS_PER_EPOCH)), latent


def reste_factor(latent: Array, k: int) -> Array:
    order = 1 + (LAST_ORDER - 1) * k / STEPS
    return np.asarray(np.minimum(np.abs(latent) ** (1 / order - 1) / order, CAP))


GAMMA, RHO0, LAMBDA = 0.7, 0.02, 3.0


def normal_map(direction: Direction, levels: tuple[float, ...]) -> Trajectory:
    """z <- z - lr (g(w) + (z - w) / gamma) with w = prox(z), decoupled from the direction."""

    def prox(latent: Array, k: int) -> Array:
        rho = RHO0 * (1 + k / STEPS_PER_EPOCH)
        inside = np.clip(latent, -1, 1)
        level = nearest(inside, levels)
        offset = inside - level
        return np.asarray(level + np.sign(offset) * np.maximum(np.abs(offset) - rho, 0))

    latent = START.copy()
    for k in range(STEPS):
        weights = prox(latent, k)
        yield weights, latent
        step = direction(gradient(weights)) + (latent - weights) / GAMMA
        latent = latent - rate(k) * step
    yield prox(latent, STEPS), latent


def cage(direction: Direction, levels: tuple[float, ...]) -> Trajectory:
    """lambda (z - Q(z)) beside the gradient; lambda is silent at first and then grows linearly."""
    latent, silent = START.copy(), CAGE_SILENCE * STEPS
    for k in range(STEPS):
        weights = nearest(latent, levels)
        yield weights, latent
        own = LAMBDA * max(0.0, (k - silent) / (STEPS - silent))
        latent = latent - rate(k) * (direction(gradient(weights)) + own * (latent - weights))
    yield nearest(latent, levels), latent


SETTING = Setting(RATE, RATE_SCALE, BETA_SCALE, BETA_INTERVAL)
PQ_SETTING = Setting(RATE, RATE_SCALE, PQ_RATE)


def newer(
    method: NewerMethod, number: float | None = None, levels: tuple[float, ...] = BINARY
) -> Quantization:
    return method.quantization(
        levels,
        number,
        learning_rate=Staircase(RATE, RATE_SCALE, RATE_INTERVAL),
        epochs=STEPS // STEPS_PER_EPOCH,
        steps_per_epoch=STEPS_PER_EPOCH,
        rho0=RHO0,
    )


def scaled(quantization: Quantization) -> Quantization:
    """ProxQuant's strength with the learning rate of these tests, which drops earlier."""
    rates = Staircase(RATE, RATE_SCALE, RATE_INTERVAL)
    return replace(quantization, sharpness=replace(quantization.sharpness, eta=rates))  # type: ignore[call-arg]


@dataclass(frozen=True)
class Case:
    """A method of the library and the recursion that it must equal."""

    name: str
    quantization: Quantization
    by_hand: Callable[[Direction], Trajectory]


CASES = [
    Case("MD-tanh", MD_TANH.quantization(BINARY, SETTING), md_tanh),
    Case("MD-tanh ternary", MD_TANH.quantization(TERNARY, SETTING), md_shifted_tanh),
    *(
        Case(
            f"{method.name} {len(levels)}",
            method.quantization(levels, SETTING),
            partial(dual_tanh, num_levels=len(levels), descent=method is GD_TANH),
        )
        for method in (MD_TANH_S, GD_TANH)
        for levels in (BINARY, TERNARY)
    ),
    *(
        Case(
            f"{method.name} {len(levels)}",
            method.quantization(levels, SETTING),
            partial(by_hand, levels=levels),
        )
        for method, by_hand in (
            (MD_SOFTMAX, md_softmax),
            (MD_SOFTMAX_S, dual_softmax),
            (PMF, partial(dual_softmax, jacobian="diag(u)")),
            (PMF_AUTHORS, partial(dual_softmax, jacobian="I")),
        )
        for levels in (BINARY, TERNARY, (-1.0, -0.3, 0.3, 1.0))
    ),
    Case("BC", BC.quantization(BINARY, SETTING), binary_connect),
    Case("BC ternary", BC.quantization(TERNARY, SETTING), partial(binary_connect, levels=TERNARY)),
    Case(
        "BC masked",
        BC_MASKED.quantization(BINARY, SETTING),
        partial(binary_connect, factor=lambda latent, k: (np.abs(latent) <= 1) * 1.0),
    ),
    *(
        Case(
            f"PQ {len(levels)}",
            scaled(PQ.quantization(levels, PQ_SETTING)),
            partial(prox_quant, levels=levels),
        )
        for levels in (BINARY, TERNARY)
    ),
    Case(
        "BNN",
        newer(BNN),
        partial(binary_connect, factor=lambda latent, k: (np.abs(latent) <= 1) * 1.0),
    ),
    Case(
        "BNN+",
        newer(BNN_PLUS, BNN_PLUS_STEEPNESS),
        partial(
            binary_connect, factor=lambda latent, k: sign_swish_slope(latent, BNN_PLUS_STEEPNESS)
        ),
    ),
    Case("BNN++", newer(BNN_PLUS_PLUS, BNN_PLUS_PLUS_STEEPNESS), bnn_plus_plus),
    Case(
        "Bi-Real",
        newer(BI_REAL),
        partial(binary_connect, factor=lambda latent, k: np.maximum(2 - 2 * np.abs(latent), 0)),
    ),
    Case(
        "ReSTE",
        newer(replace(RESTE, backward=ReSTE(CAP)), LAST_ORDER),
        partial(binary_connect, factor=reste_factor),
    ),
    *(
        Case(
            f"{method.name} {len(levels)}",
            newer(method, number, levels),
            partial(by_hand, levels=levels),
        )
        for method, number, by_hand in ((NORMAL_MAP, GAMMA, normal_map), (CAGE, LAMBDA, cage))
        for levels in (BINARY, TERNARY)
    ),
]

DIRECTIONS: dict[str, tuple[Callable[[], Direction], type[torch.optim.Optimizer], float]] = {
    "SGD": (plain, torch.optim.SGD, 1e-12),
    "Adam": (adam, torch.optim.Adam, 1e-8),
}


class Quadratic(nn.Module):
    """A linear layer whose weights are w."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIZE // 3, 3, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.copy_(torch.from_numpy(START).view(3, -1))

    def loss(self) -> Tensor:
        residual = torch.from_numpy(MATRIX) @ self.linear.weight.flatten() - torch.from_numpy(
            TARGET
        )
        return residual.square().sum() / 2


class Training:
    """The library's optimizer of a recipe with a quantization, on the quadratic function."""

    def __init__(self, quantization: Quantization, algorithm: type[torch.optim.Optimizer]) -> None:
        spec = OptimizerSpec(
            algorithm=algorithm, learning_rate=Staircase(RATE, RATE_SCALE, RATE_INTERVAL)
        )
        recipe = small_recipe(
            optimizer=spec, quantization=quantization, epochs=STEPS // STEPS_PER_EPOCH
        )
        self.model = Quadratic()
        self.optimizer: LatentOptimizer = optimizer_of(recipe, self.model, STEPS_PER_EPOCH)
        self.rate = learning_rate_of(spec, STEPS_PER_EPOCH)

    @property
    def weights(self) -> Array:
        return self.model.linear.weight.detach().flatten().numpy().copy()

    def assert_at(self, weights: Array, latent: Array | None, tolerance: float) -> None:
        np.testing.assert_allclose(self.weights, weights, rtol=0, atol=tolerance)
        if latent is not None:
            with self.optimizer.weights_at(Point.LATENT):
                np.testing.assert_allclose(self.weights, latent, rtol=0, atol=tolerance)

    def step(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.optimizer.num_steps)
        self.optimizer.zero_grad()
        self.model.loss().backward()
        self.optimizer.step()


def require_equal(case: Case, base: str) -> None:
    """Compare a method with its formula at every step, and go on from a checkpoint in between."""
    make_direction, algorithm, tolerance = DIRECTIONS[base]
    run = Training(case.quantization, algorithm)
    trajectory = list(case.by_hand(make_direction()))
    assert len(trajectory) == STEPS + 1
    for step, expected in enumerate(trajectory):
        run.assert_at(*expected, tolerance)
        if step == STEPS:
            break
        if step == 23:  # goes on in another process
            state = copy.deepcopy(run.optimizer.state_dict())
            run = Training(case.quantization, algorithm)
            run.optimizer.load_state_dict(state)
            run.assert_at(*expected, tolerance)
        run.step()
    weights = np.stack([weights for weights, _ in trajectory])
    assert np.ptp(weights, axis=0).max() > 0.1  # or nothing has been compared


@pytest.mark.parametrize("base", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_the_papers_formula_alone_and_resumed(case: Case, base: str) -> None:
    require_equal(case, base)


def test_every_method_has_been_compared() -> None:
    assert {case.name.split()[0] for case in CASES} >= {
        "MD-tanh", "MD-tanh-s", "MD-softmax", "MD-softmax-s", "GD-tanh", "PMF", "PMF*", "BC", "PQ",
        "BNN", "BNN+", "BNN++", "Bi-Real", "ReSTE", "normal", "CAGE",
    }  # fmt: skip
