"""Measures of a method over several tasks, for its runs and for resamples of them.

They are those of Agarwal et al. (Deep Reinforcement Learning at the Edge of the Statistical
Precipice, NeurIPS 2021). A resample is given by how often it has each run, so that the runs
themselves are the resample of ones.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]

CUT = 0.25
"""Share of the runs that an interquartile mean leaves out at each end."""


def resamples(indices: Integers) -> Floats:
    """How often a run is in each resample of the stratified bootstrap.

    Args:
        indices: (resamples, runs, tasks), which runs of each task were drawn.

    Returns:
        (resamples, runs, tasks).
    """
    number, runs, tasks = indices.shape
    places = np.arange(number)[:, None, None] * runs + indices
    flat = (places * tasks + np.arange(tasks)).ravel()
    counts = np.bincount(flat, minlength=number * runs * tasks)
    return counts.reshape(number, runs, tasks).astype(float)


def interquartile_mean(scores: Floats, counts: Floats) -> Floats:
    """Mean of all runs of all tasks without the lowest and the highest quarter.

    A quarter that is no whole number of runs is rounded down.

    Args:
        scores: (runs, tasks).
        counts: (resamples, runs, tasks), see `resamples`.

    Returns:
        (resamples,).
    """
    order = np.argsort(scores, axis=None, kind="stable")
    ascending = scores.ravel()[order]
    until = np.cumsum(counts.reshape(len(counts), -1)[:, order], axis=1)
    cut = int(CUT * scores.size)
    inside = until.clip(cut, scores.size - cut)
    weights = np.diff(inside, axis=1, prepend=cut)
    means: Floats = weights @ ascending / (scores.size - 2 * cut)
    return means


def mean(scores: Floats, counts: Floats) -> Floats:
    """Mean over tasks of the mean over runs; arguments as of `interquartile_mean`."""
    means: Floats = np.einsum("brt,rt->b", counts, scores) / scores.size
    return means


def median(scores: Floats, counts: Floats) -> Floats:
    """Median over tasks of the mean over runs; arguments as of `interquartile_mean`."""
    means = np.einsum("brt,rt->bt", counts, scores) / len(scores)
    medians: Floats = np.median(means, axis=1)
    return medians


def optimality_gap(scores: Floats, counts: Floats, target: float = 1.0) -> Floats:
    """Mean distance by which runs are below a target; what is above it does not make up for that.

    Args:
        scores: (runs, tasks).
        counts: (resamples, runs, tasks), see `resamples`.
        target: score that is good enough.

    Returns:
        (resamples,).
    """
    gaps: Floats = target - mean(np.minimum(scores, target), counts)
    return gaps


def performance_profile(scores: Floats, counts: Floats, thresholds: Floats) -> Floats:
    """Share of all runs of all tasks that are above each threshold.

    Args:
        scores: (runs, tasks).
        counts: (resamples, runs, tasks), see `resamples`.
        thresholds: (thresholds,).

    Returns:
        (resamples, thresholds).
    """
    # As floats, as the counts are, whole numbers are exact, and a fast library multiplies them.
    above = (scores.reshape(-1, 1) > thresholds).astype(float)
    shares: Floats = counts.reshape(len(counts), -1) @ above / scores.size
    return shares


def improvement(own: Floats, others: Floats, counts: Floats, counts_of_others: Floats) -> Floats:
    """Probability that a run of one method beats one of another on the same task.

    It is the mean over tasks of `comparison.improvements`.

    Args:
        own: (runs, tasks).
        others: (runs of the other, tasks).
        counts: (resamples, runs, tasks), see `resamples`.
        counts_of_others: (resamples, runs of the other, tasks).

    Returns:
        (resamples,).
    """
    wins = (np.sign(own[:, None] - others) + 1) / 2
    shares = np.einsum("brt,rst->bst", counts, wins, optimize=True)
    pairs = len(own) * len(others) * own.shape[1]
    probabilities: Floats = np.einsum("bst,bst->b", shares, counts_of_others) / pairs
    return probabilities
