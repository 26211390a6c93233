"""The configurations of one method on one task, and what tuning it with few tries yields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.statistics.intervals import CONFIDENCE
from analysis.tuning_cost.few_tries import Floats, Integers, expected_values, ordered


@dataclass(frozen=True)
class Family:
    """The finished configurations of a method, on one set in one setting."""

    seeds: Integers
    """(seeds,), numbers of the seeds."""
    failures: Floats
    """(configurations,), numbers of diverged seeds."""
    choose_by: Floats
    """(configurations,), mean scores by which one is chosen; minus infinity if all seeds
    diverged."""
    chosen_scores: Floats
    """(configurations, seeds), scores by which one is chosen; minus infinity for seeds that
    diverged, and NaN for those that have not finished."""
    scores: Floats
    """(configurations, seeds), test scores; NaN for seeds that are not COMPLETE."""
    guess: float
    """Score of guessing, which a network that diverged has; NaN if it is unknown."""


@dataclass(frozen=True)
class Expected:
    """Expected test scores for 1, 2, ... tries, and the contributions of seeds to their errors."""

    seeds: Integers
    """(seeds,), numbers of the seeds."""
    mean: Floats
    """(tries,), expected test score of the configuration that is chosen by its mean over seeds."""
    deviations: Floats
    """(tries, seeds), what each seed adds to the error of the mean. The standard error is the root
    of the sum of their squares, and that of a difference of two methods the root of the sum of the
    squares of their differences."""
    degrees: Floats
    """(tries,), degrees of freedom of the standard error; infinite without a spread."""
    single: Floats
    """(tries, seeds that all configurations have finished), expected test score of the network that
    is chosen if each configuration is trained with this seed only."""

    @property
    def errors(self) -> Floats:
        """(tries,), standard errors of the mean."""
        errors: Floats = np.sqrt((self.deviations**2).sum(axis=1))
        return errors

    def at(self, tries: int) -> "Expected":
        """The row of a number of tries, or the last one if there are fewer configurations."""
        last = min(tries, len(self.mean))
        row = slice(last - 1, last)
        return replace(
            self,
            mean=self.mean[row],
            deviations=self.deviations[row],
            degrees=self.degrees[row],
            single=self.single[row],
        )

    def averaged(self, tries: int) -> "Expected":
        """The mean over 1, 2, ... tries, as the only row.

        More tries than there are configurations yield what all of them do.

        Args:
            tries: at least the number of configurations.
        """
        count = len(self.mean)
        shares = np.full((1, count), 1 / tries)
        shares[0, -1] += (tries - count) / tries
        return replace(
            self,
            mean=shares @ self.mean,
            deviations=shares @ self.deviations,
            degrees=self.degrees.min(keepdims=True),
            single=shares @ self.single,
        )


def expected_of(families: Sequence[Family]) -> list[Expected]:
    """Expected test scores of each family for every number of tries, exactly.

    The standard error of the mean holds the probabilities of the choices fixed. Let P_k be the
    probability that configuration k is chosen, n_k its number of finished seeds, and d_ks the
    deviation of seed s from its mean. Then the error's square is the sum over seeds s of
    (sum over k of P_k d_ks / sqrt(n_k (n_k - 1)))². If all configurations have the same seeds, this
    is the error of a mean over seeds: seeds that configurations have in common are correlated.

    Args:
        families: with at least one configuration each. Those with equal numbers of configurations
            and seeds are computed together.
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for place, family in enumerate(families):
        alike.setdefault(family.scores.shape, []).append(place)
    found: dict[int, Expected] = {}
    for places in alike.values():
        expected = _expected_of_alike([families[place] for place in places])
        found |= zip(places, expected, strict=True)
    return [found[place] for place in range(len(families))]


def _expected_of_alike(families: Sequence[Family]) -> list[Expected]:
    """The result of `expected_of` for families of one shape."""
    scores = np.stack([family.scores for family in families])
    chosen_scores = np.stack([family.chosen_scores for family in families])
    failures = np.stack([family.failures for family in families])
    choose_by = np.stack([family.choose_by for family in families])
    guess = np.array([family.guess for family in families])[:, None]
    finished = (~np.isnan(scores)).sum(axis=2)
    n = np.where(finished > 0, finished, np.nan)
    means = np.where(finished > 0, np.nansum(scores, axis=2) / n, guess)
    with np.errstate(invalid="ignore"):  # the spread of a single seed is 0 / 0, which is unknown
        spread = (scores - means[..., None]) / np.sqrt(n * (n - 1))[..., None]
    spread = np.where(np.isnan(scores), 0.0, spread)
    diverged = np.isneginf(chosen_scores)
    own = np.where(diverged, guess[..., None], scores)
    of_means = 1 + spread.shape[2]
    expected = expected_values(
        _columns(means[..., None], spread, own),
        _columns(np.repeat(failures[..., None], of_means, axis=2), diverged),
        _columns(np.repeat(choose_by[..., None], of_means, axis=2), chosen_scores),
    )
    least = _least_seeds(np.where(finished > 0, n, np.inf).T, failures.T, choose_by.T)
    by_family = expected.reshape(len(expected), len(families), -1)
    whole = [~np.isnan(own).any(axis=0) for own in chosen_scores]
    return [
        Expected(
            family.seeds,
            by_family[:, place, 0],
            by_family[:, place, 1:of_means],
            least[:, place] - 1,
            by_family[:, place, of_means:][:, whole[place]],
        )
        for place, family in enumerate(families)
    ]


def _columns(*parts: Floats | NDArray[np.bool_]) -> Floats:
    """Join arrays (families, configurations, any) to (configurations, columns of all families)."""
    joined = np.concatenate(parts, axis=2, dtype=float).swapaxes(0, 1)
    columns: Floats = joined.reshape(len(joined), -1)
    return columns


def _least_seeds(n: Floats, failures: Floats, choose_by: Floats) -> Floats:
    """The least number of seeds of the configurations that may be the best of 1, 2, ... tries.

    The arguments and the result are (configurations, families).
    """
    order, ties = ordered(failures, choose_by)
    ascending = np.take_along_axis(n, order, axis=0)
    from_here = np.minimum.accumulate(ascending[::-1], axis=0)[::-1]
    is_first = np.diff(ties, axis=0, prepend=-1) > 0
    first = np.maximum.accumulate(np.where(is_first, np.arange(len(n))[:, None], 0), axis=0)
    least: Floats = np.take_along_axis(from_here, first, axis=0)
    return least


def half_widths(errors: ArrayLike, degrees: ArrayLike) -> Floats:
    """Half the width of Student's t interval for each error; NaN without degrees of freedom.

    Args:
        errors: standard errors.
        degrees: their degrees of freedom, of the same shape.
    """
    factors = [_quantile(float(value)) for value in np.ravel(degrees)]
    widths: Floats = np.reshape(factors, np.shape(errors)) * np.asarray(errors, float)
    return widths


@cache
def _quantile(degrees: float) -> float:
    known = 1 <= degrees < np.inf
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, degrees)) if known else float("nan")
