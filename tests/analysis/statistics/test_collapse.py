"""Collapsed trials: told apart from noise, against SciPy and by simulation."""

import numpy as np
import pytest
from scipy import stats

from analysis.metric import ACCURACY, Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import SPLITS, configurations
from analysis.statistics.sensitivity import sensitivity
from analysis.statistics.verdicts import collapse_below, collapsed
from tests.analysis.frames import trials

BEST = np.array([0.90, 0.91, 0.89])
LOSS = Metric("loss", "loss", higher_is_better=False)


def test_the_limit_is_that_of_a_further_seed_or_ten_margins_below_all_seeds() -> None:
    low = collapse_below(BEST[None], 0.001, 0.01)[0]
    t = (low - BEST.mean()) / (BEST.std(ddof=1) * np.sqrt(1 + 1 / 3))
    assert stats.t.cdf(t, 2) == pytest.approx(0.01)
    assert collapse_below(BEST[None], 0.03, 0.01)[0] == pytest.approx(0.89 - 0.3)
    assert collapse_below(np.array([[0.9]]), 0.03, 0.01)[0] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([[0.9, 0.1, 0.91]], 1),  # one seed of a rho0
        ([[0.11, 0.1, 0.09], [0.9, 0.89, 0.92]], 3),
        ([[0.9, 0.1, 0.1], [0.1, 0.9, 0.9]], 3),  # at every other rho0
        ([[0.62, 0.6, 0.61]], 0),  # less than ten margins
    ],
)
def test_planted_collapses_are_counted(others: list[list[float]], expected: int) -> None:
    assert collapsed([BEST, *map(np.array, others)], 0.03) == expected


def test_a_collapse_in_much_noise_needs_more_seeds() -> None:
    noise = 0.12 * np.array([0.0, 1.0, -1.0, 0.5, -0.5, 0.8, -0.8, 0.3, -0.3])
    low = np.full(9, 0.8)
    low[0] = 0.0
    assert collapsed([0.9 + noise[:3], low[:3]], 0.03) == 0
    assert collapsed([0.9 + noise, low], 0.03) == 1


def test_of_a_single_seed_no_noise_is_known() -> None:
    assert collapsed([np.array([0.9]), np.array([0.1])], 0.03) == 1
    assert collapsed([np.array([0.9]), np.array([0.7])], 0.03) == 0
    several = np.array([0.5, 0.7, 0.6])  # says more about the noise than a single better seed
    assert collapsed([np.array([0.9]), several, np.array([0.3, 0.4])], 0.03) == 0


@pytest.mark.parametrize(
    ("metric", "mean", "noise"),
    [(LOSS, 1.0, 0.2), (LOSS, 0.0, 1.0), (ACCURACY, 0.5, 0.15)],
    ids=["a loss", "a loss around zero", "accuracies"],
)
def test_noise_of_many_margins_makes_no_method_sensitive(
    metric: Metric, mean: float, noise: float
) -> None:
    """All rho0 are equally good. By the ten margins alone, a quarter or more is sensitive."""
    rng = np.random.default_rng(0)
    values = (0.001, 0.003, 0.01, 0.03, 0.1)
    frame = trials(
        (f"m{method}", "binary", rho0, seed, 0.0)
        for method in range(60)
        for rho0 in values
        for seed in range(3)
    )
    scores = np.clip(mean + noise * rng.standard_normal(len(frame)), metric.least, metric.most)
    frame = frame.assign(**{metric.column(split): scores for split in SPLITS})
    checked = Measurements(frame, metric=metric).trials
    found = sensitivity(configurations(checked, metric), checked, metric)
    assert (found["verdict"] == "sensitive").mean() < 0.06
