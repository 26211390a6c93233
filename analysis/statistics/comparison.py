"""Comparison of methods over common seeds, and the methods that no other significantly beats."""

from collections.abc import Hashable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import (
    SETTING,
    completed,
    place_of_highest,
    places_by,
)
from analysis.statistics.intervals import t_interval
from analysis.statistics.ties import rounding_between

Floats = NDArray[np.float64]


def compare_methods(
    selected: pd.DataFrame, trials: pd.DataFrame, metric: Metric = ACCURACY
) -> pd.DataFrame:
    """Compare the test scores of each pair of methods at their selected rho0.

    The seed determines initial weights and data order of both methods, so differences are paired by
    seed.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        metric: what they are compared by.

    Returns:
        One row for each pair of methods on a set in a setting, with the columns dataset, model,
        regime, set, further axes, and
            method, other: `method` has the higher mean.
            seeds: number of seeds that both have finished.
            difference: mean of method minus other over these seeds.
            low, high: its 95 % interval (paired Student's t); missing for a single seed.
            improvement: probability that a run of `method` beats one of `other`, over all pairs of
                runs, with ties counted as one half (Agarwal et al., 2021).
    """
    keys = [*SETTING, "set", *axis_columns(selected)]
    runs = _Runs(selected, trials, metric)
    found: dict[str, list[Any]] = {name: [] for name in [*keys, *_COMPARED]}
    for key, part in selected[selected["set"] != ""].groupby(keys, sort=False):
        ordered = part.sort_values("test_mean", ascending=False, kind="stable")
        scores = runs.of(ordered["configuration_id"])
        first, second = np.triu_indices(len(ordered), 1)
        seeds, means, stds = _paired(scores[first], scores[second])
        names = ordered["method"].to_numpy(object)
        for name, value in zip(keys, key, strict=True):
            found[name] += [value] * len(first)
        found["method"] += list(names[first])
        found["other"] += list(names[second])
        found["seeds"] += seeds.tolist()
        found["difference"] += means.tolist()
        found["std"] += stds.tolist()
        found["improvement"] += improvements(scores[first], scores[second]).tolist()
    table = pd.DataFrame(found)
    low, high = t_interval(table["difference"], table["std"], table["seeds"])
    table = table.assign(low=low, high=high)
    columns = ["method", "other", "seeds", "difference", "low", "high", "improvement"]
    return table[[*keys, *columns]]


_COMPARED = ("method", "other", "seeds", "difference", "std", "improvement")


def with_leaders(
    rows: pd.DataFrame, trials: pd.DataFrame, keys: Sequence[str], metric: Metric = ACCURACY
) -> pd.DataFrame:
    """Add the columns `leads`, which marks rows that no row of their group beats, and `wins`.

    Leading are the row with the highest mean test score, and every row whose difference from it
    has a 95 % interval (Student's t, paired by seed) that contains zero. No row of a group leads if
    no two of its rows have two seeds in common. A row wins if it leads alone, and the interval of
    its difference from every other row of the group excludes zero.

    Args:
        rows: result of `aggregate.configurations` or `selection.select`.
        trials: the trials behind them.
        keys: columns that define a group.
        metric: what the trials are compared by.
    """
    runs = _Runs(rows, trials, metric)
    finished = rows[rows["n"] > 0]
    of_rows = finished["configuration_id"].to_numpy(object)
    test_means = finished["test_mean"].to_numpy(float)
    names, ends, paired = [], [], []
    for _, places in places_by(finished, keys):
        own = test_means[places]
        first = place_of_highest(own)
        best = of_rows[places[first]]
        others = [name for name in of_rows[places] if name != best]
        scores = runs.of([best, *others])
        paired.append(_paired(np.broadcast_to(scores[:1], scores[1:].shape), scores[1:]))
        names.append((best, others))
        ends.append(rounding_between(np.delete(own, first), own[first]))
    seeds, means, stds = (
        np.concatenate([one[place] for one in paired]) if paired else np.zeros(0)
        for place in range(3)
    )
    lows, _ = t_interval(means, stds, seeds)
    leads: set[Hashable] = set()
    wins: set[Hashable] = set()
    for (best, others), equal in zip(names, ends, strict=True):
        low, lows = lows[: len(others)], lows[len(others) :]
        leads |= {name for name, end in zip(others, low <= equal, strict=True) if end}
        leads |= {best} if not np.isnan(low).all() else set()
        wins |= {best} if len(others) and (low > equal).all() else set()
    known = rows["configuration_id"]
    return rows.assign(leads=known.isin(leads), wins=known.isin(wins))


class _Runs:
    """The test scores of the COMPLETE trials of configurations."""

    def __init__(self, rows: pd.DataFrame, trials: pd.DataFrame, metric: Metric) -> None:
        finished = completed(trials)
        self._names = pd.Index(rows["configuration_id"].unique())
        places = self._names.get_indexer(finished["configuration_id"])
        order = np.argsort(places, kind="stable")
        self._seeds = finished["seed"].to_numpy()[order]
        self._scores = metric.scores(finished, "test").to_numpy(float)[order]
        ends = np.searchsorted(places[order], np.arange(len(self._names) + 1))
        self._parts = [slice(*both) for both in pairwise(ends.tolist())]

    def of(self, names: Iterable[Hashable]) -> Floats:
        """Scores of configurations (names, seeds); NaN for seeds that a configuration lacks."""
        parts = [self._parts[place] for place in self._names.get_indexer(list(names))]
        seeds, columns = np.unique(
            np.concatenate([self._seeds[part] for part in parts]), return_inverse=True
        )
        scores = np.full((len(parts), len(seeds)), np.nan)
        places = np.repeat(np.arange(len(parts)), [part.stop - part.start for part in parts])
        scores[places, columns] = np.concatenate([self._scores[part] for part in parts])
        return scores


def _paired(own: Floats, others: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
    """Number of common seeds, and mean and standard deviation (ddof = 1) of the differences.

    Args:
        own: (pairs, seeds), NaN for missing seeds.
        others: the same of the others.
    """
    differences = own - others
    is_common = ~np.isnan(differences)
    counts = is_common.sum(axis=1)
    means, stds = np.full((2, len(counts)), np.nan)
    for count in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == count)
        values = differences[rows][is_common[rows]].reshape(len(rows), count)
        means[rows] = values.mean(axis=1)
        if count > 1:
            stds[rows] = values.std(axis=1, ddof=1)
    return counts, means, stds


def improvements(own: Floats, others: Floats) -> Floats:
    """Probabilities that a score of `own` exceeds one of `others`, with ties counted as one half.

    Each is Mann and Whitney's U divided by the number of pairs.

    Args:
        own: (rows, columns), NaN where there is no score.
        others: the same of the others.

    Returns:
        (rows,), NaN for rows without a pair.
    """
    counts = (~np.isnan(own)).sum(axis=1) * (~np.isnan(others)).sum(axis=1)
    signs = np.zeros(len(own))
    for column in range(own.shape[1]):
        signs += np.nansum(np.sign(own[:, column, None] - others), axis=1)
    found: Floats = (signs / counts + 1) / 2
    return found
