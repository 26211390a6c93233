"""The answers of one look, against SciPy, and their errors by simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from analysis.deciding.answers import (
    DIFFERS,
    OPEN,
    TIE,
    on_differences,
    on_ranges,
    variance_of,
)
from analysis.deciding.forecast import of_difference, of_range
from analysis.deciding.looks import ERROR_RATE, looks

SHARES = st.integers(0, 360).map(lambda right: right / 360)


def test_the_lower_limit_of_a_range_is_tukeys_with_the_residuals_of_rho0_and_seeds() -> None:
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((4, 6)) + np.array([[0.0], [1.0], [6.0], [0.3]])
    rho0, seeds = np.indices(scores.shape).reshape(2, -1)
    design = np.column_stack([np.eye(4)[rho0], np.eye(6)[seeds][:, 1:]])
    (squares,) = np.linalg.lstsq(design, scores.ravel())[1]
    found = on_ranges(scores[None], margin=1.0, error_rate=0.01)
    mean = scores.mean(axis=1)
    ends = scores[mean.argmax()] - scores[mean.argmin()]
    variance = max(squares / (3 * 5), ends.var(ddof=1) / 2)
    width = stats.studentized_range.ppf(0.99, 4, 3 * 5) * np.sqrt(variance / 6)
    assert found.low[0] == pytest.approx(np.ptp(mean) - width)
    assert found.estimate[0] == pytest.approx(np.ptp(mean))


def test_the_upper_limit_of_a_range_is_one_sided_for_any_two_means() -> None:
    """That of two rho0 is the limit of the usual t test of their paired differences."""
    rng = np.random.default_rng(1)
    scores = rng.standard_normal((2, 6)) + np.array([[2.0], [0.0]])
    found = on_ranges(scores[None], margin=1.0, error_rate=0.01)
    test = stats.ttest_rel(*scores, alternative="less").confidence_interval(0.99)
    assert found.high[0] == pytest.approx(test.high)


@settings(deadline=None)
@given(hnp.arrays(float, (3, 4), elements=SHARES), hnp.arrays(float, 4, elements=SHARES))
def test_what_a_seed_adds_at_every_rho0_widens_no_interval(
    scores: np.ndarray, seeds: np.ndarray
) -> None:
    found, other = (on_ranges(own[None], 0.03, 0.01) for own in (scores, scores + seeds))
    assert other.low[0] == pytest.approx(found.low[0], abs=1e-6, nan_ok=True)
    assert other.high[0] == pytest.approx(found.high[0], abs=1e-6, nan_ok=True)


def test_the_interval_of_a_difference_is_that_of_the_paired_t_test() -> None:
    rng = np.random.default_rng(2)
    both = rng.standard_normal((2, 7))
    found = on_differences(both[None], margin=1.0, error_rate=0.01)
    test = stats.ttest_rel(*both).confidence_interval(0.99)
    assert (found.low[0], found.high[0]) == pytest.approx((test.low, test.high))


def test_the_noise_of_the_ends_counts_if_it_is_larger_than_that_of_all() -> None:
    """A bad rho0 often has more of it."""
    good, bad = np.array([0.1, -0.2, 0.1]), np.array([1.0, 0.0, -1.0])
    scores = np.stack([good, good - 1, bad - 2])
    assert variance_of(scores[None])[0] == pytest.approx((good - bad).var(ddof=1) / 2)
    assert variance_of(scores[None, :2])[0] == pytest.approx(0.0)


def spread(means: list[float], noise: float) -> np.ndarray:
    """Three seeds of each rho0, symmetric about the mean, and each the best at another rho0."""
    symmetric = np.array([-noise, 0.0, noise])
    return np.array([[mean + np.roll(symmetric, at) for at, mean in enumerate(means)]])


@pytest.mark.parametrize(
    ("means", "noise", "answer", "is_decided"),
    [
        ([0.9, 0.9, 0.9], 0.001, "stable", True),
        ([0.9, 0.8, 0.9], 0.001, "sensitive", True),
        ([0.9, 0.9, 0.9], 0.05, "noise", False),
        ([0.9, 0.875, 0.9], 0.003, "mild", True),
        ([0.9, 0.865, 0.9], 0.003, "mild", False),  # it may well exceed the margin
        ([0.9, 0.5, 0.9], 0.0, "sensitive", True),  # collapsed
        ([0.9, 0.89, 0.9], 0.0, "untested", False),
        ([0.9, 0.9, 0.9], 0.0, "stable", True),
        ([0.11, 0.1, 0.1], 0.001, "fails", True),
    ],
)
def test_each_rule_of_a_range(
    means: list[float], noise: float, answer: str, is_decided: bool
) -> None:
    found = on_ranges(spread(means, noise), 0.03, 0.015, chance=0.1)
    assert (found.answer[0], found.is_decided[0]) == (answer, is_decided)


@pytest.mark.parametrize(
    ("differences", "answer"),
    [
        ([0.02, 0.021, 0.019], DIFFERS),
        ([-0.02, -0.021, -0.019], DIFFERS),
        ([0.0, 0.0005, -0.0005], TIE),
        ([0.0, 0.0, 0.0], TIE),  # the same networks
        ([0.02, -0.01, 0.0], OPEN),
        ([0.001, 0.001, 0.001], OPEN),  # nothing is known about the noise
    ],
)
def test_each_rule_of_a_difference(differences: list[float], answer: str) -> None:
    base = np.array([0.9, 0.91, 0.92])
    both = np.stack([base + np.array(differences), base])
    assert on_differences(both[None], 0.03, 0.015).answer[0] == answer


@pytest.mark.parametrize(
    ("truth", "wrong"), [(0.0, "sensitive"), (0.99, "sensitive"), (1.01, "stable")]
)
def test_looking_again_and_again_errs_no_more_often_than_stated(truth: float, wrong: str) -> None:
    """The ranges nearest to the margin, on either side; benchmarks/until_decided.py has more."""
    rng = np.random.default_rng(3)
    rows = 2000
    scores = rng.standard_normal((rows, 3, 12)) * 0.3 - truth * np.array([[[0], [1], [0.5]]])
    active, errors = np.arange(rows), 0
    for look in looks(3, 12):
        part = scores[active, :, : look.seeds]
        found = on_ranges(part, 1.0, look.error_rate)
        errors += int((found.is_decided & (found.answer == wrong)).sum())
        active = active[~found.is_decided]
    assert errors / rows <= ERROR_RATE


def test_noise_of_many_margins_is_no_collapse() -> None:
    """Ten margins are a deviation here, so that some trial always lies that low."""
    rng = np.random.default_rng(5)
    rows = 1000
    scores = 10 * rng.standard_normal((rows, 5, 12))
    active, errors = np.arange(rows), 0
    for look in looks(3, 12):
        found = on_ranges(scores[active, :, : look.seeds], 1.0, look.error_rate)
        errors += int((found.answer == "sensitive").sum())
        active = active[~found.is_decided]
    assert errors / rows <= ERROR_RATE
    scores[:, -1, 0] -= 1000
    assert set(on_ranges(scores, 1.0, 0.01).answer) == {"sensitive"}


def test_a_forecast_comes_true_if_nothing_changes() -> None:
    """Scores with the same mean and deviation at the expected look are decided, and not before."""
    three = np.array([[0.9, 0.92, 0.88], [0.91, 0.89, 0.9]])
    expected = of_range(three, 0.03, 3, 200)
    assert expected is not None
    deviation = np.sqrt(variance_of(three[None])[0])
    for look in looks(3, expected):
        means = three.mean(axis=1, keepdims=True)
        noise = np.resize([1.0, -1.0], look.seeds) - np.resize([1.0, -1.0], look.seeds).mean()
        noise *= deviation / noise.std(ddof=1) / np.sqrt(2)
        scores = means + np.array([[1.0], [-1.0]]) * noise
        found = on_ranges(scores[None], 0.03, look.error_rate)
        assert found.is_decided[0] == (look.seeds == expected)


def test_what_is_not_expected_within_the_largest_number_has_no_forecast() -> None:
    rng = np.random.default_rng(4)
    scores = 0.9 + 0.05 * rng.standard_normal((2, 3))
    assert of_range(scores, 0.03, 3, 5) is None
    assert of_difference(scores, 0.0, 3, 5) is None
    assert of_difference(np.full((2, 3), 0.9), 0.03, 3, 20) is None


def test_a_forecast_expects_as_many_seeds_to_diverge_as_before() -> None:
    """Of eight seeds, half have diverged: the next look has twelve, and six of them count."""
    four = np.array([[0.9, 0.92, 0.88, 0.91], [0.89, 0.885, 0.875, 0.9]])
    scores = np.full((2, 8), np.nan)
    scores[:, ::2] = four
    expected = of_difference(scores, 0.03, 3, 200)
    assert expected is not None
    assert expected > 8
    differences = four[0] - four[1]
    mean, deviation = abs(differences.mean()), differences.std(ddof=1)
    for look in looks(3, expected):
        n = look.seeds // 2
        half = stats.t.ppf(1 - look.error_rate / 2, n - 1) * deviation / np.sqrt(n)
        if look.seeds > 8:
            assert (half < mean) == (look.seeds == expected)
    scores[:, 2:] = np.nan
    assert of_difference(scores, 0.03, 3, 200) is None


def test_two_methods_are_no_tie_because_both_exploded_for_one_seed() -> None:
    scores = np.array([[0.1, 0.12, 0.11, 0.1, 1e10], [0.5, 0.55, 0.58, 0.6, 1e10]])
    found = on_differences(scores[None], 0.03, 0.05)
    assert found.answer[0] == DIFFERS
    assert found.estimate[0] == pytest.approx(-0.36)
    equal = np.array([[0.3, 0.1 + 0.2, 1e10], [0.3, 0.3, 1e10]])
    assert on_differences(equal[None], 0.0, 0.05).answer[0] == TIE


def test_noise_has_a_forecast_and_an_interval_beside_a_rho0_that_exploded() -> None:
    """All scores are negative losses; their margin is that of another metric."""
    rng = np.random.default_rng(4)
    scores = np.vstack([-0.5 + 0.05 * rng.standard_normal((2, 3)), [[-1e10] * 3]])
    found = on_ranges(scores[None], 1e11, 0.05)
    assert found.answer[0] != "untested"
    assert np.isfinite([found.low[0], found.high[0]]).all()
    assert of_range(scores, 1e10, 3, 20) is not None
    pair = np.column_stack([scores[:2], [-1e12, -1e12]])
    assert of_difference(pair, 0.3, 3, 500) is not None


def test_without_a_spread_there_is_no_forecast_whatever_the_rounding() -> None:
    base = np.array([0.9, 0.3, 0.07])
    scores = np.stack([base + 0.01, base])
    assert np.ptp(scores[0] - scores[1]) > 0
    assert of_difference(scores, 0.03, 3, 20) is None
    assert of_range(scores, 0.03, 3, 20) is None
