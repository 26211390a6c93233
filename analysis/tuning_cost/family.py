"""The configurations of one method on one task, and what tuning it with few tries yields."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
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


def expected_of(family: Family) -> Expected:
    """Expected test scores of a family for every number of tries, exactly.

    The standard error of the mean holds the probabilities of the choices fixed. Let P_k be the
    probability that configuration k is chosen, n_k its number of finished seeds, and d_ks the
    deviation of seed s from its mean. Then the error's square is the sum over seeds s of
    (sum over k of P_k d_ks / sqrt(n_k (n_k - 1)))². If all configurations have the same seeds, this
    is the error of a mean over seeds: seeds that configurations have in common are correlated.

    Args:
        family: with at least one configuration.
    """
    finished = (~np.isnan(family.scores)).sum(axis=1)
    n = np.where(finished > 0, finished, np.nan)
    means = np.where(finished > 0, np.nansum(family.scores, axis=1) / n, family.guess)
    with np.errstate(invalid="ignore"):  # the spread of a single seed is 0 / 0, which is unknown
        spread = (family.scores - means[:, None]) / np.sqrt(n * (n - 1))[:, None]
    spread = np.where(np.isnan(family.scores), 0.0, spread)
    whole = ~np.isnan(family.chosen_scores).any(axis=0)
    alone = family.chosen_scores[:, whole]
    own = np.where(np.isneginf(alone), family.guess, family.scores[:, whole])
    failures = np.column_stack([family.failures, np.isneginf(alone)])
    choose_by = np.column_stack([family.choose_by, alone])
    of_means = 1 + spread.shape[1]
    columns = np.repeat(np.arange(choose_by.shape[1]), [of_means, *([1] * alone.shape[1])])
    expected = expected_values(
        np.column_stack([means, spread, own]), failures[:, columns], choose_by[:, columns]
    )
    return Expected(
        family.seeds,
        expected[:, 0],
        expected[:, 1:of_means],
        _least_seeds(np.where(finished > 0, n, np.inf), family) - 1,
        expected[:, of_means:],
    )


def _least_seeds(n: Floats, family: Family) -> Floats:
    """The least number of seeds of the configurations that may be the best of 1, 2, ... tries."""
    order, ties = ordered(family.failures[:, None], family.choose_by[:, None])
    from_here = np.minimum.accumulate(n[order[::-1, 0]])[::-1]
    least: Floats = from_here[np.searchsorted(ties[:, 0], ties[:, 0])]
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
