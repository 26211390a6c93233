"""Coverage of the 95 % intervals of a mean, by simulation.

The values are normal, as accuracies over seeds nearly are, or skewed: one run in five collapses, as
in some of the papers' configurations.
"""

import numpy as np
from measuring import write
from numpy.typing import NDArray

from analysis.statistics.intervals import bootstrap_interval, t_interval

REPETITIONS = 20_000
SEEDS = (3, 5, 10, 30)
COLLAPSED = 0.2


def normal(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], float]:
    return 0.9 + 0.01 * rng.standard_normal((REPETITIONS, n)), 0.9


def sometimes_collapsed(rng: np.random.Generator, n: int) -> tuple[NDArray[np.float64], float]:
    values = 0.9 + 0.01 * rng.standard_normal((REPETITIONS, n))
    collapsed = rng.random((REPETITIONS, n)) < COLLAPSED
    return np.where(collapsed, values - 0.5, values), 0.9 - 0.5 * COLLAPSED


def main() -> None:
    rows = []
    for kind in (normal, sometimes_collapsed):
        for n in SEEDS:
            rng = np.random.default_rng(n)
            values, mean = kind(rng, n)
            ends = {
                "t": t_interval(values.mean(axis=1), values.std(axis=1, ddof=1), n),
                "bootstrap": bootstrap_interval(values, rng),
            }
            covered = {
                name: float(np.mean((low <= mean) & (high >= mean)))
                for name, (low, high) in ends.items()
            }
            rows.append({"values": kind.__name__, "n": n, **covered})
            print(rows[-1])
    write("interval_coverage", {"repetitions": REPETITIONS, "nominal": 0.95, "coverage": rows})


if __name__ == "__main__":
    main()
