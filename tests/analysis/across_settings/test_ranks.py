"""Ranks over tasks, against Demsar's paper and scipy."""

import numpy as np
import pytest
from scipy import stats

from analysis.across_settings.ranks import critical_difference, ranks


def test_critical_differences_are_those_of_demsar() -> None:
    """Table 5a has q for 2 to 10 methods, and section 3.2.4 the difference for 4 and 14 tasks."""
    printed = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for methods, q in enumerate(printed, start=2):
        unit = np.sqrt(methods * (methods + 1) / 6)
        assert critical_difference(methods, 1) / unit == pytest.approx(q, abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=5e-3)


def test_ranks_by_hand_and_by_scipy() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.9], [0.8, 0.1 + 0.2, 0.6, 0.5], [0.7, 0.3, 0.5, 0.6]])
    found = ranks(scores)
    assert found.mean == pytest.approx([1, (2 + 2.5 + 2 + 3) / 4, (3 + 2.5 + 3 + 2) / 4])
    rounded = scores.round(9)  # 0.1 + 0.2 and 0.3 are a tie
    assert found.p == pytest.approx(stats.friedmanchisquare(*rounded).pvalue)
    assert found.critical == critical_difference(3, 4)


def test_the_size_of_the_scores_of_another_task_or_method_does_not_matter() -> None:
    errors = np.array([[2e10, 0.1, 0.1, 0.1], [1e10, 0.2, 0.2, 0.2], [3e10, 0.3, 0.3, 3e10]])
    found = ranks(-errors)
    assert found.mean.tolist() == [1.25, 1.75, 3.0]
    assert found.p == pytest.approx(stats.friedmanchisquare(*errors).pvalue)


def test_methods_that_guess_share_their_rank() -> None:
    """Their scores are 0 but for rounding, which may be of any size."""
    scores = np.array([[-8.7e-18, 0.5], [0.0, 0.5], [3e-17, 0.5], [0.4, 0.5]])
    assert ranks(scores, is_scaled=True).mean.tolist() == [2.75, 2.75, 2.75, 1.75]


def test_too_few_tasks_or_methods_are_not_tested() -> None:
    two_tasks = ranks(np.array([[0.9, 0.8], [0.8, 0.7], [0.7, 0.6]]))
    assert two_tasks.mean.tolist() == [1, 2, 3]
    assert np.isnan([two_tasks.p, two_tasks.critical]).all()
    two_methods = ranks(np.array([[0.9] * 9, [0.8] * 9]))
    assert np.isnan([two_methods.p, two_methods.critical]).all()


def test_methods_that_are_equally_good_are_rarely_told_apart() -> None:
    """The two tests together err in at most 5 % of the cases, also for few tasks."""
    rng = np.random.default_rng(0)
    for methods, tasks in ((3, 3), (4, 3), (4, 12)):
        apart = [
            np.ptp(found.mean) >= found.critical
            for found in (ranks(rng.random((methods, tasks))) for _ in range(200))
        ]
        assert np.mean(apart) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
