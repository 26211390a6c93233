"""The closed formula of the best of few tries, against all orders and exact fractions."""

from fractions import Fraction
from itertools import permutations
from math import comb

import numpy as np
import pytest

from analysis.tuning_cost.few_tries import expected_best, expected_values


def over_all_orders(
    values: np.ndarray, failures: np.ndarray, scores: np.ndarray, tries: int
) -> float:
    """The mean value of the best of the first few, over all orders of the choices."""
    chosen = []
    for order in permutations(range(len(values))):
        best = order[0]
        for choice in order[1:tries]:
            if (failures[choice], -scores[choice]) < (failures[best], -scores[best]):
                best = choice
        chosen.append(values[best])
    return float(np.mean(chosen))


@pytest.mark.parametrize("choices", [1, 2, 3, 6])
@pytest.mark.parametrize("distinct", [1, 2, 99])
def test_it_equals_the_mean_over_all_orders(choices: int, distinct: int) -> None:
    """With few distinct scores there are ties."""
    rng = np.random.default_rng(choices)
    values = rng.random((choices, 2))
    scores = rng.integers(0, distinct, (choices, 2)) / 10
    failures = rng.integers(0, min(distinct, 2), (choices, 2)).astype(float)
    scores[failures > 0] = np.where(rng.random((failures > 0).sum()) < 0.5, -np.inf, 0.1)
    found = expected_values(values, failures, scores)
    for column in range(2):
        for tries in range(1, choices + 1):
            brute = over_all_orders(
                values[:, column], failures[:, column], scores[:, column], tries
            )
            assert found[tries - 1, column] == pytest.approx(brute, abs=1e-13)


def test_many_choices_are_as_exact_as_fractions() -> None:
    ascending = np.sort(np.random.default_rng(0).random(600))
    found = expected_best(ascending[:, None])[:, 0]
    for tries in (1, 2, 255, 256, 257, 300, 512, 513, 599, 600):
        terms = (
            comb(rank - 1, tries - 1) * Fraction(ascending[rank - 1]) for rank in range(1, 601)
        )
        assert found[tries - 1] == pytest.approx(float(sum(terms) / comb(600, tries)), abs=1e-12)


def test_an_unknown_value_makes_unknown_what_depends_on_it() -> None:
    found = expected_best(np.array([np.nan, 1.0, 2.0])[:, None])[:, 0]
    assert np.isnan(found[0])
    assert found[1:].tolist() == pytest.approx([(1 + 2 + 2) / 3, 2])


def test_scores_that_differ_by_rounding_are_equal() -> None:
    scores = np.array([[0.3], [0.1 + 0.2], [0.0]])
    found = expected_values(np.array([[1.0], [3.0], [0.0]]), np.zeros((3, 1)), scores)
    assert found[2, 0] == 2  # and not that of the second alone


def test_a_choice_that_exploded_does_not_make_the_others_equal() -> None:
    scores = np.array([[-0.2, -0.2], [-0.1, -0.1], [-1e10, -0.3]])
    found = expected_values(np.array([[2.0], [1.0], [9.0]]).repeat(2, 1), np.zeros((3, 2)), scores)
    assert found[2].tolist() == [1, 1]
