"""The looks at a question, and what they may spend."""

from itertools import pairwise

import pytest
from scipy import stats

from analysis.deciding.looks import ERROR_RATE, last_seeds, looks, unseen_share


@pytest.mark.parametrize("first", [1, 2, 3, 10])
def test_all_looks_together_spend_the_error_rate(first: int) -> None:
    """However many there are, their errors add up to less than the rate, and nearly to it."""
    some = list(looks(first, 2000))
    assert 0.9 * ERROR_RATE < sum(look.error_rate for look in some) < ERROR_RATE
    assert some[0].seeds == max(first, 2)
    assert all(two.seeds > one.seeds for one, two in pairwise(some))


def test_a_larger_number_of_seeds_changes_no_look_before() -> None:
    """So that a sweep may go on after it has ended, with the answers that it has given."""
    assert list(looks(3, 20)) == list(looks(3, 40))[: len(list(looks(3, 20)))]
    assert [look.seeds for look in looks(3, 20)] == [3, 5, 8, 12, 18]
    assert last_seeds(3, 20) == 18
    assert last_seeds(5, 4) == 0


@pytest.mark.parametrize("seeds", [1, 3, 10])
def test_an_unseen_share_is_the_exact_limit_of_a_binomial_proportion(seeds: int) -> None:
    limit = stats.binomtest(0, seeds, alternative="less").proportion_ci(1 - ERROR_RATE).high
    assert unseen_share(seeds) == pytest.approx(limit)
