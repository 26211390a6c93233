"""Coverage of the 95 % intervals of what tuning yields, by simulation.

Eight configurations are equally good, or their means span five points of accuracy. A seed is better
or worse for all of them, and each network deviates from its configuration on validation and on test
images alike. Two expectations are looked for: of the test accuracy of the networks that were
measured, and of that of new networks with the chosen configuration. The second is lower, because
the networks that choose are also those that are measured.
"""

import numpy as np
from measuring import write

from analysis.statistics.intervals import t_interval
from analysis.tuning_cost.family import Family, expected_of, half_widths
from analysis.tuning_cost.few_tries import expected_values

REPETITIONS = 2000
CONFIGURATIONS = 8
TRIES = (1, 3, 8)
SEEDS = (3, 5, 10)
SPANS = (0.0, 0.05)
OF_SEED, OF_NETWORK, OF_IMAGES = 0.005, 0.01, 0.003
"""Standard deviations of accuracies between seeds, networks, and sets of images."""


def simulated(
    rng: np.random.Generator, span: float, seeds: int
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Rows (tries) of expectation, half width and what new networks yield; of single seeds, too."""
    means = 0.9 + np.linspace(0, span, CONFIGURATIONS)
    by_mean, new, single = [], [], []
    for _ in range(REPETITIONS):
        shape = CONFIGURATIONS, seeds
        networks = means[:, None] + OF_SEED * rng.standard_normal(seeds)
        networks = networks + OF_NETWORK * rng.standard_normal(shape)
        validation, test = (networks + OF_IMAGES * rng.standard_normal(shape) for _ in range(2))
        failures, choose_by = np.zeros(CONFIGURATIONS), validation.mean(axis=1)
        family = Family(np.arange(seeds), failures, choose_by, validation, test, np.nan)
        (found,) = expected_of([family])
        by_mean.append([found.mean, half_widths(found.errors, found.degrees)])
        new.append(expected_values(means[:, None], failures[:, None], choose_by[:, None])[:, 0])
        low, high = t_interval(
            found.single.mean(axis=1), found.single.std(axis=1, ddof=1), np.full(len(means), seeds)
        )
        single.append([(low + high) / 2, (high - low) / 2])
    return by_mean, new, single


def covered(values: np.ndarray, truth: float) -> float:
    """Share of intervals, given by their middle and half their width, that contain a number."""
    return float(np.mean(np.abs(values[:, 0] - truth) <= values[:, 1]))


def main() -> None:
    rows = []
    for span in SPANS:
        for seeds in SEEDS:
            simulations = simulated(np.random.default_rng(seeds), span, seeds)
            by_mean, new, single = map(np.array, simulations)
            for tries in TRIES:
                at = tries - 1
                measured = float(by_mean[:, 0, at].mean())
                retrained = float(new[:, at].mean())
                rows.append(
                    {
                        "span": span,
                        "seeds": seeds,
                        "tries": tries,
                        "measured": covered(by_mean[:, :, at], measured),
                        "new": covered(by_mean[:, :, at], retrained),
                        "excess_points": 100 * (measured - retrained),
                        "single": covered(single[:, :, at], float(single[:, 0, at].mean())),
                    }
                )
                print(rows[-1], flush=True)
    write("tuning_intervals", {"repetitions": REPETITIONS, "nominal": 0.95, "coverage": rows})


if __name__ == "__main__":
    main()
