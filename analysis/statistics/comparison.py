"""Comparison of methods over common seeds, and the methods that no other significantly beats."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import (
    SETTING,
    Integers,
    completed,
    places_of_highest,
    stacks_of,
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
    found: dict[str, list[Any]] = {name: [] for name in [*keys, "method", "other", "improvement"]}
    first_names: list[Hashable] = []
    second_names: list[Hashable] = []
    for key, part in selected[selected["set"] != ""].groupby(keys, sort=False):
        ordered = part.sort_values("test_mean", ascending=False, kind="stable")
        scores = runs.of(ordered["configuration_id"])
        first, second = np.triu_indices(len(ordered), 1)
        names = ordered[["configuration_id", "method"]].to_numpy(object)
        for name, value in zip(keys, key, strict=True):
            found[name] += [value] * len(first)
        first_names += list(names[first, 0])
        second_names += list(names[second, 0])
        found["method"] += list(names[first, 1])
        found["other"] += list(names[second, 1])
        found["improvement"] += improvements(scores[first], scores[second]).tolist()
    seeds, differences, stds = runs.paired(first_names, second_names)
    table = pd.DataFrame(found).assign(seeds=seeds, difference=differences)
    low, high = t_interval(differences, stds, seeds)
    table = table.assign(low=low, high=high)
    columns = ["method", "other", "seeds", "difference", "low", "high", "improvement"]
    return table[[*keys, *columns]]


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
    finished = rows[rows["n"] > 0]
    group = finished.groupby(list(keys), sort=False).ngroup().to_numpy()
    names = finished["configuration_id"].to_numpy(object)
    means = finished["test_mean"].to_numpy(float)
    best = places_of_highest(means, group)
    others = np.flatnonzero(best[group] != np.arange(len(group)))
    of_other = group[others]
    first = best[of_other]
    runs = _Runs(rows, trials, metric)
    seeds, differences, stds = runs.paired(names[first], names[others])
    low, _ = t_interval(differences, stds, seeds)
    equal = rounding_between(means[others], means[first])
    number = len(best)
    pairs = np.bincount(of_other, minlength=number)
    is_known = np.bincount(of_other, ~np.isnan(low), minlength=number) > 0
    beaten = np.bincount(of_other, low > equal, minlength=number)
    leads = {*names[best[is_known]], *names[others[low <= equal]]}
    wins = set(names[best[(pairs > 0) & (beaten == pairs)]])
    known = rows["configuration_id"]
    return rows.assign(leads=known.isin(leads), wins=known.isin(wins))


class _Runs:
    """The test scores of the COMPLETE trials of configurations."""

    def __init__(self, rows: pd.DataFrame, trials: pd.DataFrame, metric: Metric) -> None:
        finished = completed(trials)
        self._names = pd.Index(rows["configuration_id"].unique())
        places = self._names.get_indexer(finished["configuration_id"])
        seed_values, seeds = np.unique(finished["seed"].to_numpy(), return_inverse=True)
        self._num_seeds = len(seed_values)
        order = np.lexsort((seeds, places))
        order = order[places[order] >= 0]
        self._seeds = seeds[order]
        self._scores = metric.scores(finished, "test").to_numpy(float)[order]
        self._keys = places[order] * self._num_seeds + self._seeds
        self._ends = np.searchsorted(places[order], np.arange(len(self._names) + 1))

    def of(self, names: Iterable[Hashable]) -> Floats:
        """Scores of configurations (names, seeds); NaN for seeds that a configuration lacks."""
        places = self._names.get_indexer(list(names))
        row, trials = self._trials_of(places)
        seeds, columns = np.unique(self._seeds[trials], return_inverse=True)
        scores = np.full((len(places), len(seeds)), np.nan)
        scores[row, columns] = self._scores[trials]
        return scores

    def paired(
        self, names: Iterable[Hashable], others: Iterable[Hashable]
    ) -> tuple[Integers, Floats, Floats]:
        """Pairs of configurations: their differences over common seeds.

        Args:
            names: (pairs,).
            others: (pairs,), whose scores are subtracted.

        Returns:
            Numbers of common seeds, and means and standard deviations (ddof = 1) of the
            differences, each (pairs,); NaN for too few seeds.
        """
        own = self._names.get_indexer(list(names))
        pair, trials = self._trials_of(self._names.get_indexer(list(others)))
        wanted = own[pair] * self._num_seeds + self._seeds[trials]
        found = np.searchsorted(self._keys, wanted).clip(max=len(self._keys) - 1)
        differences = self._scores[found] - self._scores[trials]
        is_common = (self._keys[found] == wanted) & ~np.isnan(differences)
        pair, differences = pair[is_common], differences[is_common]
        counts = np.bincount(pair, minlength=len(own))
        means, stds = np.full((2, len(counts)), np.nan)
        for alike, places in stacks_of(pair):
            means[alike] = differences[places].mean(axis=1)
            if places.shape[1] > 1:
                stds[alike] = differences[places].std(axis=1, ddof=1)
        return counts, means, stds

    def _trials_of(self, places: Integers) -> tuple[Integers, Integers]:
        """The trials of configurations by ascending seed, one configuration after another.

        Args:
            places: those of the configurations; one may be there several times.

        Returns:
            The row in `places`, and the place of each trial.
        """
        lengths = self._ends[places + 1] - self._ends[places]
        row = np.repeat(np.arange(len(places)), lengths)
        before = np.cumsum(lengths) - lengths
        return row, np.arange(len(row)) + (self._ends[places] - before)[row]


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
