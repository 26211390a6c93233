"""Measures over tasks, against the numbers of rliable on the same scores, and by hand."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.across_settings.across_settings import percentile_interval
from analysis.across_settings.measures import (
    Floats,
    improvement,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
    resamples,
)
from tests.analysis.across_settings.rliable_numbers import FILE, RESAMPLES, SEED, THRESHOLDS

CASES = json.loads(FILE.read_text(encoding="utf-8"))
"""Scores of two methods, and for each measure its value and the ends of its interval."""


@pytest.fixture(params=CASES, ids=lambda case: f"{len(case['own'])}x{len(case['own'][0])}")
def case(request: pytest.FixtureRequest) -> Any:
    return request.param


def once(scores: Floats) -> Floats:
    return np.ones((1, *scores.shape))


def drawn(*shapes: tuple[int, ...]) -> list[Floats]:
    """The resamples that rliable draws after the same seed."""
    np.random.seed(SEED)
    draws = [[np.random.choice(shape[0], shape) for shape in shapes] for _ in range(RESAMPLES)]
    return [resamples(np.array(own)) for own in zip(*draws, strict=True)]


@pytest.mark.parametrize(
    "measure", [interquartile_mean, mean, median, optimality_gap], ids=lambda of: of.__name__
)
def test_aggregates_and_their_intervals_are_those_of_rliable(
    measure: Callable[[Floats, Floats], Floats], case: dict[str, Any]
) -> None:
    scores = np.array(case["own"])
    (counts,) = drawn(scores.shape)
    found = [*measure(scores, once(scores)), *percentile_interval(measure(scores, counts))]
    assert found == pytest.approx(case[measure.__name__], rel=0, abs=1e-12)


def test_profiles_and_their_intervals_are_those_of_rliable(case: dict[str, Any]) -> None:
    scores, thresholds = np.array(case["own"]), np.array(THRESHOLDS)
    (counts,) = drawn(scores.shape)
    (share,) = performance_profile(scores, once(scores), thresholds)
    ends = percentile_interval(performance_profile(scores, counts, thresholds))
    for found, theirs in zip((share, *ends), case["performance_profile"], strict=True):
        assert found == pytest.approx(np.array(theirs), rel=0, abs=1e-12)


def test_the_probability_of_improvement_is_that_of_rliable(case: dict[str, Any]) -> None:
    own, others = np.array(case["own"]), np.array(case["others"])
    found = improvement(own, others, once(own), once(others))
    ends = percentile_interval(improvement(own, others, *drawn(own.shape, others.shape)))
    assert [*found, *ends] == pytest.approx(case["improvement"], rel=0, abs=1e-12)


def test_measures_by_hand() -> None:
    scores = np.array([[0.0, 0.2, 0.4, 0.6], [0.8, 1.0, 1.2, 0.6]])
    assert interquartile_mean(scores, once(scores)) == pytest.approx([(0.4 + 0.6 + 0.6 + 0.8) / 4])
    gap = (1 + 0.8 + 0.6 + 0.4 + 0.2 + 0 + 0 + 0.4) / 8
    assert optimality_gap(scores, once(scores)) == pytest.approx([gap])
    assert median(scores, once(scores)) == pytest.approx([0.6])
    twice = resamples(np.array([[[0, 0, 1, 1], [0, 1, 1, 0]]]))
    assert twice.tolist() == [[[2, 1, 0, 1], [0, 1, 2, 1]]]
    assert mean(scores, twice) == pytest.approx([(0 + 0 + 0.2 + 1 + 1.2 + 1.2 + 0.6 + 0.6) / 8])
