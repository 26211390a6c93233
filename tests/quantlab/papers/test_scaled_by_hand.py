"""Methods with scales against their papers' formulas, written out with NumPy in float64.

The function, the learning rates and the checkpoint are those of test_methods_by_hand.py. The 12
weights are a layer of 3 outputs, so that there are 3 rows of 4 weights, or 1 row of 12.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from quantlab import ConfigurationError
from quantlab.papers.scaled_methods import (
    BITNET,
    BWN,
    LSBQ,
    LSBQ_PROX_CONNECT,
    LSQ,
    PARETO_Q,
    PARQ,
    PQ_TERNARY,
    SCALED_METHODS,
    TTQ,
    TWN,
    ScaledMethod,
)
from quantlab.schedules import Staircase
from tests.quantlab.papers.test_methods_by_hand import (
    DIRECTIONS,
    RATE,
    RATE_INTERVAL,
    RATE_SCALE,
    SIZE,
    START,
    STEPS,
    STEPS_PER_EPOCH,
    Array,
    Case,
    Direction,
    Trajectory,
    gradient,
    rate,
    require_equal,
)

RHO0, REG_RATE = 0.04, 3.0
Project = Callable[[Array], Array]
CHANNELS, TENSOR = 3, 1


def by_row(latent: Array, project: Project, rows: int) -> Array:
    """Apply a projection to each row alone."""
    return np.concatenate([project(row) for row in latent.reshape(rows, -1)])


def straight_through(
    direction: Direction, map_at: Callable[[int], Project], rows: int
) -> Trajectory:
    """w = P_k(z) in every row, and z <- z - lr g(w)."""
    latent = START.copy()
    for k in range(STEPS):
        weights = by_row(latent, map_at(k), rows)
        yield weights, latent
        latent = latent - rate(k) * direction(gradient(weights))
    yield by_row(latent, map_at(STEPS), rows), latent


def bwn(row: Array) -> Array:
    return np.asarray(np.abs(row).mean() * np.where(row >= 0, 1.0, -1.0))


def bitnet(row: Array) -> Array:
    gamma = np.abs(row).mean()
    return np.asarray(gamma * np.clip(np.rint(row / gamma), -1, 1))


def twn(row: Array) -> Array:
    delta = 0.7 * np.abs(row).mean()
    alpha = np.abs(row)[np.abs(row) > delta].mean()
    return np.where(row > delta, alpha, np.where(row < -delta, -alpha, 0.0))


def least_squares_levels(row: Array, num_levels: int) -> Array:
    """The best levels over all ways to split the sorted magnitudes, or the greedy ones."""
    if num_levels > 4:
        residual, parts = row.copy(), []
        for _ in range(int(math.log2(num_levels))):
            parts.append(np.abs(residual).mean())
            residual = residual - parts[-1] * np.where(residual >= 0, 1.0, -1.0)
        sums = np.zeros(1)
        for part in parts:
            sums = np.concatenate([sums - part, sums + part])
        return np.sort(sums)
    size = np.sort(np.abs(row))[::-1]
    best, found = math.inf, np.zeros(num_levels)
    for count in range(1, len(row) + (num_levels == 3)):
        upper = size[:count].mean()
        lower = size[count:].mean() if num_levels == 4 else 0.0
        error = ((size[:count] - upper) ** 2).sum() + ((size[count:] - lower) ** 2).sum()
        if error < best:
            best = error
            found = np.unique([-upper, -lower, lower, upper])
    if num_levels == 2:
        found = np.array([-1.0, 1.0]) * size.mean()
    return found


def nearest_of(row: Array, levels: Array) -> Array:
    return np.asarray(levels[np.abs(row[:, None] - levels[None]).argmin(axis=1)])


def lsbq(row: Array, num_levels: int) -> Array:
    return nearest_of(row, least_squares_levels(row, num_levels))


def parq(row: Array, num_levels: int, slope: float) -> Array:
    """clamp(c + (w - c) / s, low, high) between adjacent levels with the middle c."""
    levels = least_squares_levels(row, num_levels)
    if slope == 0:
        return nearest_of(row, levels)
    moved = []
    for weight in np.clip(row, levels[0], levels[-1]):
        place = min(int(np.searchsorted(levels, weight, side="right")), num_levels - 1)
        low, high = levels[place - 1], levels[place]
        middle = (low + high) / 2
        moved.append(min(max(middle + (weight - middle) / slope, low), high))
    return np.array(moved)


def inverse_slope(k: int) -> float:
    def mirrored(share: float) -> float:
        return 1 / (1 + math.exp(10 * (share - 0.5)))

    if k >= STEPS:
        return 0.0
    return (mirrored(k / STEPS) - mirrored(1)) / (mirrored(0) - mirrored(1))


def proxconnect(row: Array, num_levels: int, rho: float) -> Array:
    """L_rho^rho between evenly spaced levels of [-1, 1], which lie where least squares put them."""
    levels = least_squares_levels(row, num_levels)
    even = np.linspace(-1, 1, num_levels)
    unit = np.interp(np.clip(row, levels[0], levels[-1]), levels, even)
    level = nearest_of(unit, even)
    offset = unit - level
    half_gap = 1 / (num_levels - 1)
    shrunk = np.maximum(np.abs(offset) - rho, 0) if rho < half_gap else 0 * offset
    return np.asarray(np.interp(level + np.sign(offset) * shrunk, even, levels))


def pq_ternary(direction: Direction) -> Trajectory:
    """w <- prox(w - lr g(w)) with prox(p) = (p + reg T(p)) / (1 + reg), as in the public code."""

    def prox(point: Array, k: int) -> Array:
        reg = rate(k) * REG_RATE * (k // STEPS_PER_EPOCH)
        delta = 0.7 * np.abs(point).mean()
        ternary = np.zeros(SIZE)
        ternary[point >= delta] = point[point >= delta].mean()
        ternary[point <= -delta] = point[point <= -delta].mean()
        return np.asarray((point + reg * ternary) / (1 + reg))

    weights = START.copy()
    for k in range(STEPS):
        yield weights, None
        weights = prox(weights - rate(k) * direction(gradient(weights)), k + 1)
    yield weights, None


def ttq(direction: Direction) -> Trajectory:
    """Levels -W_n, 0 and W_p, which move by the base optimizer as the latents do."""
    latent = START.copy()
    delta = 0.05 * np.abs(latent).max()
    learned = np.array([-latent[latent <= -delta].mean(), latent[latent >= delta].mean()])
    for k in range(STEPS + 1):
        delta = 0.05 * np.abs(latent).max()
        positive, negative = latent > delta, latent < -delta
        weights = np.where(positive, learned[1], np.where(negative, -learned[0], 0.0))
        yield weights, latent
        found = gradient(weights)
        factor = np.where(positive, learned[1], np.where(negative, learned[0], 1.0))
        own = np.array([-found[negative].sum(), found[positive].sum()])
        move = rate(k) * direction(np.concatenate([found * factor, own]))
        latent, learned = latent - move[:SIZE], learned - move[SIZE:]


def lsq(direction: Direction, bits: int) -> Trajectory:
    """Equations (1)-(3) and (5) of LSQ, with the gradient of s divided by sqrt(N Q_P)."""
    lowest, highest = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    latent = START.copy()
    s = 2 * np.abs(latent).mean() / math.sqrt(highest)
    for k in range(STEPS + 1):
        ratio = latent / s
        rounded = np.rint(np.clip(ratio, lowest, highest))
        weights = rounded * s
        yield weights, latent
        found = gradient(weights)
        inside = (ratio > lowest) & (ratio < highest)
        slope = np.where(inside, rounded - ratio, rounded)
        own = (found * slope).sum() / math.sqrt(SIZE * highest)
        move = rate(k) * direction(np.append(found * inside, own))
        latent, s = latent - move[:SIZE], s - move[SIZE]


def pareto_q(direction: Direction, num_levels: int) -> Trajectory:
    """One s for each output, with the functions of ParetoQ for 1, 1.58, 2, 3 and 4 bits."""
    length = SIZE // CHANNELS
    latent = START.copy().reshape(CHANNELS, length)
    size = np.abs(latent)
    largest = size.max(axis=1, keepdims=True)
    highest = num_levels / 2 - 1 if num_levels > 4 else 1.0
    s = size.mean(axis=1, keepdims=True) if num_levels == 2 else largest / highest
    for k in range(STEPS + 1):
        ratio = latent / s
        if num_levels == 2:
            rounded = np.where(latent >= 0, 1.0, -1.0)
        elif num_levels <= 4:
            half, shift = num_levels / 2, 0.0 if num_levels == 3 else 0.5
            clipped = np.clip(ratio, -1 + 1e-9, 1 - 1e-9)
            rounded = (np.rint(clipped * half - shift) + shift) / half
        else:
            rounded = np.clip(np.rint(ratio), -highest - 1, highest)
        weights = (rounded * s).ravel()
        yield weights, latent.ravel()
        found = gradient(weights).reshape(CHANNELS, length)
        low = -highest - 1 if num_levels > 4 else -1.0
        inside = (ratio >= low) & (ratio <= highest)
        slope = rounded - ratio * inside if num_levels > 2 else rounded
        own = (found * slope).sum(axis=1) / math.sqrt(length * highest)
        move = rate(k) * direction(np.concatenate([(found * inside).ravel(), own]))
        latent = latent - move[:SIZE].reshape(latent.shape)
        s = s - move[SIZE:, None]


def case(method: ScaledMethod, num_levels: int, by_hand: Callable[[Direction], Trajectory]) -> Case:
    quantization = method.quantization(
        num_levels,
        learning_rate=Staircase(RATE, RATE_SCALE, RATE_INTERVAL),
        epochs=STEPS // STEPS_PER_EPOCH,
        rho0=RHO0,
        rate=REG_RATE,
    )
    return Case(f"{method.name} {num_levels}", quantization, by_hand)


def fixed(project: Project, rows: int) -> Callable[[Direction], Trajectory]:
    return partial(straight_through, map_at=lambda k: project, rows=rows)


def annealed(
    num_levels: int, project: Callable[[Array, int, float], Array], number: Callable[[int], float]
) -> Callable[[Direction], Trajectory]:
    def map_at(k: int) -> Project:
        return lambda row: project(row, num_levels, number(k))

    return partial(straight_through, map_at=map_at, rows=CHANNELS)


def cases() -> Iterator[Case]:
    yield case(BWN, 2, fixed(bwn, CHANNELS))
    yield case(BITNET, 3, fixed(bitnet, TENSOR))
    yield case(TWN, 3, fixed(twn, TENSOR))
    yield case(TTQ, 3, ttq)
    yield case(PQ_TERNARY, 3, pq_ternary)
    for num_levels in (2, 3, 4, 8, 16):
        yield case(LSBQ, num_levels, fixed(partial(lsbq, num_levels=num_levels), CHANNELS))
        yield case(PARQ, num_levels, annealed(num_levels, parq, inverse_slope))
        yield case(PARETO_Q, num_levels, partial(pareto_q, num_levels=num_levels))
    for num_levels in (2, 3, 4):
        yield case(
            LSBQ_PROX_CONNECT,
            num_levels,
            annealed(num_levels, proxconnect, lambda k: RHO0 * (1 + k / STEPS_PER_EPOCH)),
        )
    for bits in (2, 3, 4):
        yield case(LSQ, 2**bits, partial(lsq, bits=bits))


CASES = list(cases())


@pytest.mark.parametrize("base", DIRECTIONS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_the_papers_formula_alone_and_resumed(case: Case, base: str) -> None:
    require_equal(case, base)


def test_every_method_has_been_compared() -> None:
    compared = {case.name.rsplit(" ", 1)[0] for case in CASES}
    assert compared == {method.name for method in SCALED_METHODS}


def test_a_method_can_have_other_rows_but_no_other_sets() -> None:
    schedule = Staircase(0.1, 0.5, 10)
    for method in SCALED_METHODS:
        for levels in method.sets:
            found = method.quantization(
                len(levels), learning_rate=schedule, epochs=3, per=2, exclude=("fc",)
            )
            own = method.quantization(
                len(levels), learning_rate=schedule, epochs=3, exclude=("fc",)
            )
            assert own.scale is not None
            assert found == replace(own, scale=replace(own.scale, per=2))
            assert found.quantizer.levels == levels
    with pytest.raises(ConfigurationError, match=r"num_levels = 5: must be 4, 8 or 16 for LSQ"):
        LSQ.quantization(5, learning_rate=schedule, epochs=3)
    with pytest.raises(ConfigurationError, match=r"num_levels = 2: must be 3 for TWN"):
        TWN.quantization(2, learning_rate=schedule, epochs=3)
