"""Training compared to a second implementation in NumPy, which follows the paper's equations.

The first half of this file knows nothing of torch or quantlab: a two-layer network with its
gradient, the four update rules, three optimizers, the two proximal maps and the schedule, all
written out by hand. The second half drives `LatentOptimizer` through the same mini-batches and
compares the two trajectories step by step.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, permutations
from typing import Protocol, TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from quantlab import Point, Quantizer, UpdateRule
from quantlab.optim.latent_optimizer import LatentOptimizer
from quantlab.quantizers.nearest import Nearest
from quantlab.quantizers.piecewise_linear import PiecewiseLinear
from quantlab.schedules import Linear, Schedule
from quantlab.update_rules import POST_TRAINING, PROX_CONNECT, PROX_QUANT, REVERSE_PROX_CONNECT

Array: TypeAlias = NDArray[np.float64]

NUM_STEPS = 50
STEPS_PER_EPOCH = 5
BATCH_SIZE = 16
NUM_INPUTS, NUM_HIDDEN, NUM_CLASSES = 6, 8, 3
SHAPES = ((NUM_HIDDEN, NUM_INPUTS), (NUM_HIDDEN,), (NUM_CLASSES, NUM_HIDDEN), (NUM_CLASSES,))
"""First weight and bias, second weight and bias: in this order they make up one vector."""
SIZES = [math.prod(shape) for shape in SHAPES]

TOLERANCE = 1e-10
MARGIN = 1e-8
"""No latent of the reference comes nearer than this to a jump of P, so that a deviation within the
tolerance cannot send the two implementations to different levels."""


# The reference: numpy only.


@dataclass(frozen=True)
class Problem:
    """Initial parameters and the mini-batch of every step."""

    start: Array
    inputs: Array
    """(steps, batch, inputs)."""
    classes: NDArray[np.int64]
    """(steps, batch)."""


def problem(seed: int) -> Problem:
    """Classes by a random linear rule, weights spread over the range of the levels."""
    rng = np.random.default_rng(seed)
    inputs = 1.5 * rng.standard_normal((NUM_STEPS, BATCH_SIZE, NUM_INPUTS))
    scores = inputs @ rng.standard_normal((NUM_INPUTS, NUM_CLASSES))
    return Problem(0.5 * rng.standard_normal(sum(SIZES)), inputs, scores.argmax(axis=2))


def cut(parameters: Array) -> list[Array]:
    """The vector as the two weights and biases."""
    pieces = np.split(parameters, np.cumsum(SIZES)[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, SHAPES, strict=True)]


IS_WEIGHT: NDArray[np.bool_] = np.repeat([len(shape) == 2 for shape in SHAPES], SIZES)
"""Which entries of the vector are quantized: those of the two matrices, not the biases."""


def loss_and_gradient(
    parameters: Array, inputs: Array, classes: NDArray[np.int64], activation: str
) -> tuple[float, Array]:
    """Mean softmax cross-entropy of linear -> activation -> linear, and its backward pass."""
    weight1, bias1, weight2, bias2 = cut(parameters)
    before = inputs @ weight1.T + bias1
    hidden = np.tanh(before) if activation == "tanh" else np.maximum(before, 0.0)
    logits = hidden @ weight2.T + bias2
    shifted = logits - logits.max(axis=1, keepdims=True)
    probabilities = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    rows = np.arange(len(classes))
    loss = float(-np.log(probabilities[rows, classes]).mean())

    by_logits = probabilities.copy()
    by_logits[rows, classes] -= 1.0
    by_logits /= len(classes)
    slope = 1.0 - hidden**2 if activation == "tanh" else (before > 0.0).astype(np.float64)
    by_before = (by_logits @ weight2) * slope
    pieces = [by_before.T @ inputs, by_before.sum(axis=0), by_logits.T @ hidden]
    return loss, np.concatenate([p.ravel() for p in (*pieces, by_logits.sum(axis=0))])


def project(latent: Array, levels: tuple[float, ...]) -> Array:
    """P_Q by the distance to every level; argmin takes the first, hence from the top: ties up."""
    downwards = np.array(levels[::-1])
    return downwards[np.abs(latent[:, None] - downwards).argmin(axis=1)]


def join_the_points(latent: Array, levels: tuple[float, ...], rho: float, varrho: float) -> Array:
    """L_rho^varrho: straight lines through the points of (11)-(12), clipped outside.

    (13) as printed misses these points; it is the sentence before it, "simply connects the points",
    that is followed here. Every piece is closed on its left, which sends a tie up.
    """
    points = []
    for low, high in pairwise(levels):
        middle = (low + high) / 2
        points += [
            (low, low),
            (min(middle, low + rho), low),
            (middle, max(low, middle - varrho)),
            (middle, min(high, middle + varrho)),
            (max(middle, high - rho), high),
            (high, high),
        ]
    image = np.where(latent < levels[0], levels[0], levels[-1])
    for (left, at_left), (right, at_right) in pairwise(points):
        if left < right:  # not one of the jumps
            line = at_left + (latent - left) * (at_right - at_left) / (right - left)
            image = np.where((left <= latent) & (latent < right), line, image)
    return image


@dataclass(frozen=True)
class ByHand:
    """P: the projector where there are no shifts, else L at the shifts times rho_t."""

    levels: tuple[float, ...]
    shifts: tuple[float, float] | None
    """Of (rho, varrho)."""
    rho0: float = 0.025
    early: int = 0
    """Steps by which the schedule runs ahead: 0 is right."""

    def rho(self, step: int) -> float:
        """The schedule of section 6.1."""
        return (1 + (step + self.early) / STEPS_PER_EPOCH) * self.rho0

    def __call__(self, latent: Array, step: int) -> Array:
        """P on the weights, the identity on the biases."""
        if self.shifts is None:
            image = project(latent, self.levels)
        else:
            rho, varrho = (shift * self.rho(step) for shift in self.shifts)
            image = join_the_points(latent, self.levels, rho, varrho)
        return np.where(IS_WEIGHT, image, latent)


class Move(Protocol):
    """An optimizer: start - eta gradient, or what stands for it."""

    def __call__(self, start: Array, gradient: Array) -> Array: ...


class Sgd:
    """Gradient descent with heavy-ball momentum and L2 decay of the point that is moved."""

    def __init__(self, eta: float, momentum: float = 0.0, decay: float = 0.0) -> None:
        self.eta, self.momentum, self.decay = eta, momentum, decay
        self.velocity = np.zeros(sum(SIZES))

    def __call__(self, start: Array, gradient: Array) -> Array:
        self.velocity = self.momentum * self.velocity + gradient + self.decay * start
        return start - self.eta * self.velocity


class Adam:
    """Algorithm 1 of Kingma and Ba."""

    def __init__(self, eta: float) -> None:
        self.eta, self.step = eta, 0
        self.first, self.second = np.zeros((2, sum(SIZES)))

    def __call__(self, start: Array, gradient: Array) -> Array:
        self.step += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        mean = self.first / (1 - 0.9**self.step)
        square = self.second / (1 - 0.999**self.step)
        return start - self.eta * mean / (np.sqrt(square) + 1e-8)


Gradient: TypeAlias = Callable[[Array], Array]


def prox_connect(latent: Array, proximal: Array, gradient: Gradient, move: Move) -> Array:
    """(31), and (3) with the projector: w*_{t+1} = w*_t - eta grad(w_t)."""
    return move(latent, gradient(proximal))


def prox_quant(latent: Array, proximal: Array, gradient: Gradient, move: Move) -> Array:
    """(5): w*_{t+1} = w_t - eta grad(w_t)."""
    return move(proximal, gradient(proximal))


def reverse_prox_connect(latent: Array, proximal: Array, gradient: Gradient, move: Move) -> Array:
    """(36), and (6) with the projector: w*_{t+1} = w_t - eta grad(w*_t)."""
    return move(proximal, gradient(latent))


def post_training(latent: Array, proximal: Array, gradient: Gradient, move: Move) -> Array:
    """(7): w*_{t+1} = w*_t - eta grad(w*_t)."""
    return move(latent, gradient(latent))


RuleByHand: TypeAlias = Callable[[Array, Array, Gradient, Move], Array]


@dataclass(frozen=True)
class Trajectory:
    """All parameters, biases included, before each step and after the last; the loss at each."""

    losses: Array
    latent: Array
    proximal: Array
    hard: Array


def train_by_hand(
    data: Problem, rule: RuleByHand, move: Move, prox: ByHand, activation: str
) -> Trajectory:
    """w_t = P(w*_t) at rho_t, then the rule, for every mini-batch."""
    losses: list[float] = []
    latents, proximals = [data.start], [prox(data.start, 0)]
    for step in range(NUM_STEPS):

        def gradient(at: Array, step: int = step) -> Array:
            loss, value = loss_and_gradient(at, data.inputs[step], data.classes[step], activation)
            losses.append(loss)
            return value

        latents.append(rule(latents[-1], proximals[-1], gradient, move))
        proximals.append(prox(latents[-1], step + 1))
    hard = [np.where(IS_WEIGHT, project(latent, prox.levels), latent) for latent in latents]
    return Trajectory(np.array(losses), np.array(latents), np.array(proximals), np.array(hard))


# The package, on the same mini-batches.


def network(start: Array, activation: str) -> nn.Sequential:
    model = nn.Sequential(
        nn.Linear(NUM_INPUTS, NUM_HIDDEN),
        nn.Tanh() if activation == "tanh" else nn.ReLU(),
        nn.Linear(NUM_HIDDEN, NUM_CLASSES),
    ).double()
    with torch.no_grad():
        for parameter, values in zip(model.parameters(), cut(start), strict=True):
            parameter.copy_(torch.from_numpy(values))
    return model


@torch.no_grad()
def vector_at(optimizer: LatentOptimizer, parameters: list[nn.Parameter], point: Point) -> Array:
    with optimizer.weights_at(point):
        values: Array = torch.cat([parameter.flatten() for parameter in parameters]).numpy()
    return values


def train_with_torch(
    data: Problem,
    rule: UpdateRule,
    make_base: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    quantizer: Quantizer,
    schedule: Schedule,
    activation: str,
    *,
    flat: bool,
    closure: bool,
) -> Trajectory:
    model = network(data.start, activation)
    named = dict(model.named_parameters())
    optimizer = LatentOptimizer(
        {name: (named[name], quantizer) for name in ("0.weight", "2.weight")},
        [named[name] for name in ("0.bias", "2.bias")],
        make_base=make_base,
        rule=rule,
        sharpness=lambda step: schedule.at(step, STEPS_PER_EPOCH),
        flat=flat,
    )
    losses: list[float] = []
    rows: dict[Point, list[Array]] = {Point.LATENT: [], Point.PROXIMAL: [], Point.HARD: []}

    def record() -> None:
        for point, values in rows.items():
            values.append(vector_at(optimizer, list(named.values()), point))

    def evaluate(step: int) -> float:
        optimizer.zero_grad()
        logits = model(torch.from_numpy(data.inputs[step]))
        loss = nn.functional.cross_entropy(logits, torch.from_numpy(data.classes[step]))
        loss.backward()
        return loss.item()

    record()
    for step in range(NUM_STEPS):
        if closure:
            loss = optimizer.step(partial(evaluate, step))
            assert loss is not None
        else:
            loss = evaluate(step)
            optimizer.step()
        losses.append(loss)
        record()
    latent, proximal, hard = (np.array(values) for values in rows.values())
    return Trajectory(np.array(losses), latent, proximal, hard)


# The comparison.


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Products this small only wait for a second thread, for long beside other busy processes."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@dataclass(frozen=True)
class Base:
    """The same optimizer twice."""

    make_by_hand: Callable[[], Move]
    make_with_torch: Callable[[list[nn.Parameter]], torch.optim.Optimizer]


# Under ProxQuant and reverseProxConnect the projector forgets what does not cross half a gap in one
# step: the steps are long enough and the levels of the projector close enough for some to cross.
BASES = {
    "sgd": Base(lambda: Sgd(0.5), lambda p: torch.optim.SGD(p, lr=0.5)),
    "momentum": Base(
        lambda: Sgd(0.2, momentum=0.9, decay=0.01),
        lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9, weight_decay=0.01),
    ),
    "adam": Base(lambda: Adam(0.09), lambda p: torch.optim.Adam(p, lr=0.09)),
}
RULES: dict[str, tuple[RuleByHand, UpdateRule]] = {
    "PC": (prox_connect, PROX_CONNECT),
    "PQ": (prox_quant, PROX_QUANT),
    "rPC": (reverse_prox_connect, REVERSE_PROX_CONNECT),
    "PTQ": (post_training, POST_TRAINING),
}
CLOSE = (-1.0, -0.6, -0.35, -0.2, -0.05, 0.05, 0.2, 0.35, 0.6, 1.0)
UNEVEN = (-1.0, -0.3, 0.2, 1.0)
"""Of its gaps the middle one, and only it, comes to saturation within the 50 steps."""
MAPS: dict[str, ByHand] = {
    "projector": ByHand(CLOSE, None),
    "rho=varrho": ByHand(UNEVEN, (1.0, 1.0)),
    "rho>varrho": ByHand(UNEVEN, (1.2, 0.5)),
    "rho<varrho": ByHand(UNEVEN, (0.4, 1.2)),
}


@dataclass(frozen=True)
class Setting:
    """What the two implementations have in common."""

    rule: str
    base: str
    prox: ByHand
    activation: str = "tanh"
    seed: int = 0

    def by_hand(self) -> Trajectory:
        rule, move = RULES[self.rule][0], BASES[self.base].make_by_hand()
        return train_by_hand(problem(self.seed), rule, move, self.prox, self.activation)

    def with_torch(self, *, flat: bool = False, closure: bool = False) -> Trajectory:
        return train_with_torch(
            problem(self.seed),
            RULES[self.rule][1],
            BASES[self.base].make_with_torch,
            quantizer_of(self.prox),
            Linear(self.prox.rho0),
            self.activation,
            flat=flat,
            closure=closure,
        )


def quantizer_of(prox: ByHand) -> Quantizer:
    if prox.shifts is None:
        return Nearest(levels=prox.levels)
    rho_scale, varrho_scale = prox.shifts
    return PiecewiseLinear(levels=prox.levels, rho_scale=rho_scale, varrho_scale=varrho_scale)


every_rule = pytest.mark.parametrize("rule", RULES)
every_base = pytest.mark.parametrize("base", BASES)
flat_or_not = pytest.mark.parametrize("flat", [False, True], ids=["shaped", "flat"])


def assert_it_is_a_fair_test(expected: Trajectory, prox: ByHand) -> None:
    """The weights move and change levels, P does its work, and no entry comes close to a jump."""
    middles = np.array([(low + high) / 2 for low, high in pairwise(prox.levels)])
    latent, proximal = expected.latent[:, IS_WEIGHT], expected.proximal[:, IS_WEIGHT]
    assert np.abs(latent[..., None] - middles).min() > MARGIN
    assert (np.ptp(expected.latent, axis=0) > 0.02).mean() > 0.95
    for matrix in (0, 2):
        hard = np.array([cut(row)[matrix] for row in expected.hard])
        assert (hard[1:] != hard[:-1]).sum() >= 5
    on_a_level = np.isin(proximal, prox.levels).mean()
    if prox.shifts is None:
        assert on_a_level == 1
    else:
        assert 0.05 < on_a_level < 0.95


def assert_same(actual: Trajectory, expected: Trajectory) -> None:
    np.testing.assert_allclose(actual.losses, expected.losses, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(actual.latent, expected.latent, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(actual.proximal, expected.proximal, atol=TOLERANCE, rtol=0)
    np.testing.assert_array_equal(actual.hard[:, IS_WEIGHT], expected.hard[:, IS_WEIGHT])


@every_rule
@every_base
@pytest.mark.parametrize("prox", MAPS.values(), ids=MAPS)
@flat_or_not
def test_fifty_steps_equal_the_reference(rule: str, base: str, prox: ByHand, flat: bool) -> None:
    setting = Setting(rule, base, prox)
    expected = setting.by_hand()
    assert_it_is_a_fair_test(expected, prox)
    assert_same(setting.with_torch(flat=flat), expected)


@every_rule
@every_base
@flat_or_not
def test_steps_with_a_closure_equal_the_reference(rule: str, base: str, flat: bool) -> None:
    setting = Setting(rule, base, MAPS["rho>varrho"], activation="relu", seed=1)
    expected = setting.by_hand()
    assert_it_is_a_fair_test(expected, setting.prox)
    assert_same(setting.with_torch(flat=flat, closure=True), expected)


@pytest.mark.parametrize("levels", [(-1.0, 1.0), (-1.0, 0.0, 1.0), (-2.0, -0.5, 0.0, 3.0)], ids=str)
@pytest.mark.parametrize("shifts", [None, (1.0, 1.0), (0.5, 2.0), (2.0, 0.5)], ids=str)
def test_the_maps_equal_the_reference_where_no_trajectory_goes(
    levels: tuple[float, ...], shifts: tuple[float, float] | None
) -> None:
    """At the middles and the levels exactly, and outside; up to all gaps saturated."""
    middles = [(low + high) / 2 for low, high in pairwise(levels)]
    points = np.array([*levels, *middles, levels[0] - 2, levels[-1] + 2])
    prox = ByHand(levels, shifts)
    quantizer, schedule = quantizer_of(prox), Linear(prox.rho0)
    latent = np.resize(points, IS_WEIGHT.shape)
    for step in (0, 10, 100, 1000):
        image = quantizer.prox(torch.from_numpy(latent), schedule.at(step, STEPS_PER_EPOCH))
        expected = prox(latent, step)[IS_WEIGHT]
        np.testing.assert_allclose(image.numpy()[IS_WEIGHT], expected, atol=1e-14, rtol=0)


def assert_different(actual: Trajectory, expected: Trajectory) -> None:
    assert np.abs(actual.latent - expected.latent).max() > 0.01
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_same(actual, expected)


@pytest.mark.parametrize(("rule", "other"), list(permutations(RULES, 2)))
def test_another_rule_does_not_equal_the_reference(rule: str, other: str) -> None:
    """Else the comparison above would prove nothing."""
    setting = Setting(rule, "adam", MAPS["rho=varrho"])
    assert_different(setting.with_torch(), replace(setting, rule=other).by_hand())


@pytest.mark.parametrize("rule", ["PC", "PQ", "rPC"])
@pytest.mark.parametrize(
    "other",
    [replace(MAPS["rho>varrho"], shifts=(0.5, 1.2)), replace(MAPS["rho>varrho"], early=1)],
    ids=["shifts exchanged", "sharpness one step early"],
)
def test_another_map_does_not_equal_the_reference(rule: str, other: ByHand) -> None:
    setting = Setting(rule, "sgd", MAPS["rho>varrho"])
    assert_different(setting.with_torch(), replace(setting, prox=other).by_hand())
