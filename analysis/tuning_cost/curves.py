"""Curves of every method and task: the expected test score against the number of tries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import (
    family_keys,
    first_known,
    places_by,
    without_tuned,
)
from analysis.statistics.intervals import t_interval
from analysis.statistics.selection import Split
from analysis.tuning_cost.family import Expected, Family, expected_of, half_widths
from analysis.tuning_cost.few_tries import Integers


@dataclass(frozen=True)
class Curve:
    """What tuning a method on a task yields."""

    where: Mapping[str, Any]
    """Values of the columns of `aggregate.family_keys` (an empty text of an axis that is a knob of
    the method), configurations, unfinished and chosen_on."""
    expected: Expected


def curves_of(
    table: pd.DataFrame,
    trials: pd.DataFrame,
    metric: Metric = ACCURACY,
    wanted: Split = "validation",
) -> list[Curve]:
    """Expected test scores after n tries, for each method, set and setting.

    A try is a configuration: a value of rho0, and of each further axis that is a knob of the method
    (see `aggregate.without_tuned`). The tries are drawn at random without replacement from the
    configurations that have finished, none of whose seeds still runs or waits, and the best of them
    is chosen as `selection.select` does: fewest diverged seeds first, then the highest mean score;
    of equal ones, the first that was tried. The expectation is exact, see
    `few_tries.expected_values`. A configuration of which all seeds diverged has the score of
    guessing.

    Args:
        table: result of `aggregate.configurations`, with `classes` or `chance` if they are known.
        trials: the trials behind it.
        metric: what they are compared by.
        wanted: see `selection.select`.
    """
    table = without_tuned(table, trials)
    keys = family_keys(table)
    has_result = (table["n"] > 0) | (table["diverged"] == table["seeds"])
    is_over = (has_result & (table["unfinished"] == 0)).to_numpy()
    guess = metric.scores_of_guessing(table)
    guesses = np.full(len(table), np.nan) if guess is None else guess.to_numpy(float)
    columns = {
        name: table[name].to_numpy(float)
        for name in ("n", "validation_n", "diverged", "validation_mean", "test_mean")
    }
    runs = _Runs(table, trials, metric)
    where: list[dict[str, Any]] = []
    families: list[Family] = []
    for key, rows in places_by(table, keys):
        places = rows[is_over[rows]]
        if not len(places):
            continue
        n, validation_n, diverged, *means = (own[places] for own in columns.values())
        is_there = wanted == "test" or (validation_n == n).all()
        split: Split = wanted if is_there else "test"
        mean = means[split == "test"]
        seeds, chosen_scores, scores = runs.of(places, split)
        families.append(
            Family(
                seeds,
                np.where(n > 0, diverged, diverged.max() + 1),  # what has no result is chosen last
                np.where(n > 0, mean, -np.inf),
                chosen_scores,
                scores,
                first_known(guesses[places]),
            )
        )
        where.append(
            {
                **dict(zip(keys, key, strict=True)),
                "configurations": len(places),
                "unfinished": len(rows) - len(places),
                "chosen_on": split if len(places) > 1 else "",
            }
        )
    return list(map(Curve, where, expected_of(families)))


class _Runs:
    """The scores of the trials of each configuration, by seed."""

    def __init__(self, table: pd.DataFrame, trials: pd.DataFrame, metric: Metric) -> None:
        over = trials[trials["state"].isin(("COMPLETE", "DIVERGED"))]
        place = pd.Series(range(len(table)), index=table["configuration_id"])
        of = over["configuration_id"].map(place).to_numpy()
        order = np.argsort(of, kind="stable")
        self._first = np.searchsorted(of[order], np.arange(len(table) + 1))
        self._seed = np.unique(over["seed"].to_numpy(), return_inverse=True)[1][order]
        diverged = (over["state"] == "DIVERGED").to_numpy()[order]
        validation, test = (
            metric.scores(over, split).to_numpy(float)[order] for split in ("validation", "test")
        )
        self._scores = np.where(diverged, np.nan, test)
        self._chosen = {
            "validation": np.where(diverged, -np.inf, validation),
            "test": np.where(diverged, -np.inf, test),
        }

    def of(self, places: Integers, split: Split) -> tuple[Integers, Any, Any]:
        """Numbers of the seeds, scores of the choice and test scores; see `Family`."""
        rows = [np.arange(self._first[place], self._first[place + 1]) for place in places]
        together = np.concatenate(rows)
        seeds, column = np.unique(self._seed[together], return_inverse=True)
        row = np.repeat(np.arange(len(places)), [len(own) for own in rows])
        chosen_scores, scores = np.full((2, len(places), len(seeds)), np.nan)
        chosen_scores[row, column] = self._chosen[split][together]
        scores[row, column] = self._scores[together]
        return seeds, chosen_scores, scores


def tuning_cost(curves: Sequence[Curve]) -> pd.DataFrame:
    """The curves as a table.

    Args:
        curves: result of `curves_of`.

    Returns:
        One row for each method, set and setting, and number of tries. Its columns are those of
        `aggregate.family_keys`, with an empty text of an axis that is a knob of the method, and
            configurations: number of those that have finished.
            unfinished: number of those that have not: a seed still runs or waits, or none has a
                result.
            chosen_on: the split of the choice; empty for a single configuration.
            tries: 1 to the number of configurations.
            test_mean: expected test score of the chosen configuration. That of the last row is the
                score at the choice of `selection.select` over rho0 and all knobs, if all of them
                have finished.
            low, high: its 95 % interval over seeds (Student's t), see `family.expected_of`.
            single: expected test score of the network that is chosen if each configuration is
                trained with one seed; the mean over seeds that all configurations have finished.
            single_low, single_high: its 95 % interval (Student's t).
    """
    columns = ["tries", "test_mean", "low", "high", "single", "single_low", "single_high"]
    found = pd.DataFrame([curve.where for curve in curves])
    if found.empty:
        return found
    expected = [curve.expected for curve in curves]
    lengths = [len(own.mean) for own in expected]
    found = found.loc[np.repeat(found.index, lengths)].reset_index(drop=True)
    mean = np.concatenate([own.mean for own in expected])
    half = np.concatenate([half_widths(own.errors, own.degrees) for own in expected])
    singles = [_mean_and_std(own.single) for own in expected]
    single, std = (np.concatenate(of) for of in zip(*singles, strict=True))
    counts = np.repeat([own.single.shape[1] for own in expected], lengths)
    single_low, single_high = t_interval(single, std, counts)
    tries = np.concatenate([np.arange(1, length + 1) for length in lengths])
    values = (tries, mean, mean - half, mean + half, single, single_low, single_high)
    return found.assign(**dict(zip(columns, values, strict=True)))


def _mean_and_std(values: Any) -> Iterator[Any]:
    """Mean and standard deviation of each row; NaN for too few values."""
    rows, count = values.shape
    yield values.mean(axis=1) if count else np.full(rows, np.nan)
    yield values.std(axis=1, ddof=1) if count > 1 else np.full(rows, np.nan)
