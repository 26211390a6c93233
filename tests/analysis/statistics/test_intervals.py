"""Intervals against scipy, statsmodels, enumeration and simulation."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

from analysis.statistics.intervals import bootstrap_coverage, bootstrap_interval, t_interval


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8))
def test_t_is_scipys_and_statsmodels(values: list[float]) -> None:
    data = np.array(values)
    ends = t_interval(data.mean(), data.std(ddof=1), len(data))
    if data.std(ddof=1) > 1e-9:
        error = data.std(ddof=1) / len(data) ** 0.5
        expected = stats.t.interval(0.95, len(data) - 1, data.mean(), error)
        assert np.allclose(ends, expected)
        assert np.allclose(ends, DescrStatsW(data).tconfint_mean(0.05))


def test_t_by_hand() -> None:
    low, high = t_interval([0.9, 0.9], [0.01, 0.01], [3, 1])
    half = 4.302653 * 0.01 / 3**0.5
    assert (low[0], high[0]) == pytest.approx((0.9 - half, 0.9 + half))
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize("n", [3, 5, 10])
def test_t_covers_what_it_says(n: int) -> None:
    rng = np.random.default_rng(0)
    values = 0.9 + 0.02 * rng.standard_normal((20_000, n))
    low, high = t_interval(values.mean(axis=1), values.std(axis=1, ddof=1), n)
    assert 0.93 < np.mean((low <= 0.9) & (high >= 0.9)) < 0.97


def test_bootstrap_is_that_of_all_resamples() -> None:
    values = np.array([0.90, 0.93, 0.99])
    means = [np.mean(drawn) for drawn in product(values, repeat=3)]
    expected = np.percentile(means, [2.5, 97.5], method="inverted_cdf")
    low, high = bootstrap_interval(values[None], np.random.default_rng(0))
    assert (low[0], high[0]) == pytest.approx(expected, abs=0.005)


def test_bootstrap_covers_less_and_says_so() -> None:
    coverage = [bootstrap_coverage(n) for n in (3, 5, 10, 30)]
    assert coverage == sorted(coverage)
    assert 0.70 < coverage[0] < 0.80
    assert 0.92 < coverage[3] < 0.95


def test_bootstrap_is_reproducible() -> None:
    values = np.random.default_rng(1).random((5, 4))
    first, again = (bootstrap_interval(values, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.isnan(bootstrap_interval(values[:, :1], np.random.default_rng(7))).all()
