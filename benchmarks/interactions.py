"""Errors of the test for interactions of knobs, and how large ones it finds, by simulation.

Each setting has 2,000 grids of two knobs whose effects add up, or do not. Sizes are in units of the
standard deviation over seeds, which is the smallest one if the noise differs between cells. Of each
setting it is measured how often an interaction is called significant (p < 0.05), and how often the
limits do not hold the true size.
"""

from typing import Any

import numpy as np
from measuring import write
from numpy.typing import NDArray

from analysis.knob_effects.double_differences import interaction_of

Floats = NDArray[np.float64]

GRIDS = 2000
SHAPES = ((3, 3), (3, 5), (5, 7))
SEEDS = (3, 5, 10)
NOISE = (
    "equal",
    "a good or bad seed",
    "5 times along a knob",
    "3 times in a corner",
    "heavy tails",
)
SIZES = (4, 6, 8, 12)
"""Sizes of planted interactions: largest double differences."""


def noise_of(kind: str, rng: np.random.Generator, shape: tuple[int, int], seeds: int) -> Floats:
    """Noise (rows, columns, seeds)."""
    if kind == "heavy tails":
        return rng.standard_t(3, (*shape, seeds)) / np.sqrt(3)
    noise = rng.standard_normal((*shape, seeds))
    if kind == "a good or bad seed":
        return noise + 2 * rng.standard_normal(seeds)
    if kind == "5 times along a knob":
        return noise * np.geomspace(1, 5, shape[0])[:, None, None]
    if kind == "3 times in a corner":
        noise[-1, -1] *= 3
    return noise


def planted(kind: str, shape: tuple[int, int], size: float) -> Floats:
    """Means whose largest double difference has a size: one cell, or the product of two lines."""
    means = np.zeros(shape)
    if kind == "one cell":
        means[0, 0] = size
    else:
        means += size * np.outer(np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1]))
    return means[:, :, None]


def measure(noise: str, shape: tuple[int, int], seeds: int, kind: str, size: float) -> Any:
    rng = np.random.default_rng([*shape, seeds])
    means = planted(kind, shape, size)
    significant = outside = 0
    for _ in range(GRIDS):
        found = interaction_of(means + noise_of(noise, rng, shape, seeds))
        significant += found.p < 0.05
        outside += not found.size_low <= size <= found.size_high
    row = {"noise": noise, "shape": f"{shape[0]} x {shape[1]}", "seeds": seeds, "planted": kind}
    row |= {"size": size, "significant": significant / GRIDS, "outside": outside / GRIDS}
    print(row, flush=True)
    return row


def main() -> None:
    rows = [
        measure(noise, shape, seeds, "nothing", 0)
        for noise in NOISE
        for shape in SHAPES
        for seeds in SEEDS
    ]
    rows += [
        measure(noise, (3, 5), seeds, kind, size)
        for noise in NOISE[:2]
        for seeds in SEEDS
        for kind in ("one cell", "product of lines")
        for size in SIZES
    ]
    write("interactions", {"grids": GRIDS, "rows": rows})


if __name__ == "__main__":
    main()
