"""Questions: what a sweep asks, with the scores of the seeds that may answer it.

A sweep asks of each method, on each set and in each setting, whether its rho0 can be left untuned,
and of each pair of methods on a set whether they differ.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import ADDED, axis_columns
from analysis.metric import Metric
from analysis.statistics.aggregate import SETTING, family_keys, first_known
from analysis.statistics.selection import select

RANGE, COMPARISON = "range", "comparison"
"""Kinds of questions: of one method over its rho0, and of two methods."""
_ENDED = ("COMPLETE", "DIVERGED")


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A question, and the trials that answer it; arrays are (configurations, seeds)."""

    kind: str
    """`RANGE` or `COMPARISON`."""
    where: Mapping[str, Hashable]
    """Dataset, model, regime, set and further axes."""
    methods: tuple[str, ...]
    """The method, or both of them."""
    configurations: tuple[str, ...]
    """Ids of the configurations: all rho0 of the method, or the chosen rho0 of each method."""
    rho0: tuple[float, ...]
    """Their rho0; NaN for a method without one."""
    first: tuple[int, ...]
    """Seeds of the sweep that all of them have."""
    seeds: tuple[int, ...]
    """The first seeds, and those added to all of them, in the order in which they were added."""
    scores: NDArray[np.float64]
    """Test scores; NaN unless COMPLETE."""
    has_ended: NDArray[np.bool_]
    """Whether the trial is COMPLETE or DIVERGED."""
    has_diverged: NDArray[np.bool_]
    """Whether it is DIVERGED."""
    chance: float
    """Score of guessing; NaN if it is unknown."""


def questions(trials: pd.DataFrame, metric: Metric) -> list[Question]:
    """The questions of a sweep, in the order of its trials.

    The rho0 of a comparison is chosen by the validation scores of the sweep's own seeds, as
    `selection.select` does, so that added seeds have no part in the choice. A method is compared
    when all of these trials have ended.

    Args:
        trials: columns of `columns.trials_columns`, and `ADDED`.
        metric: what the trials are compared by.
    """
    table, of = _table(trials, metric)
    keys = family_keys(trials)
    families = dict(list(table.groupby(keys, sort=False)))
    found = []
    for key, part in families.items():
        part = part[part["rho0"].notna()].sort_values("rho0")
        if len(part) > 1:
            found.append(_question(RANGE, keys, [key], part, of))
    chosen = select(table)
    is_whole = {key: bool(part["own_ended"].all()) for key, part in families.items()}
    groups = [*SETTING, "set", *axis_columns(trials)]
    chosen = chosen[chosen["set"] != ""]
    for _, part in chosen.groupby(groups, sort=False):
        rows = dict(zip(_keys(part, keys), range(len(part)), strict=True))
        whole = [key for key in families if key in rows and is_whole[key]]
        for pair in combinations(whole, 2):
            both = part.iloc[[rows[key] for key in pair]]
            found.append(_question(COMPARISON, keys, pair, both, of))
    return found


def _keys(rows: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[Hashable, ...]]:
    return rows[list(keys)].itertuples(index=False, name=None)


@dataclass(frozen=True)
class _Seeds:
    """The trials of a configuration."""

    first: frozenset[int]
    """Seeds of the sweep."""
    added: frozenset[int]
    states: Mapping[int, str]
    scores: Mapping[int, float]


def _table(trials: pd.DataFrame, metric: Metric) -> tuple[pd.DataFrame, dict[Hashable, _Seeds]]:
    """One row for each configuration with what `select` needs of its own seeds, and its trials."""
    keys = [*family_keys(trials), "rho0"]
    complete = trials["state"] == "COMPLETE"
    guesses = metric.values_of_guessing(trials)
    own = trials[ADDED] == ""
    measured = trials[[*keys, "configuration_id"]].assign(
        own_ended=trials["state"].isin(_ENDED) | ~own,
        chance=np.nan if guesses is None else metric.sign * guesses,
        n=complete & own,
        diverged=own & (trials["state"] == "DIVERGED"),
        unfinished=own & ~trials["state"].isin(_ENDED),
        validation_mean=metric.scores(trials, "validation").where(complete & own),
        test_mean=metric.scores(trials, "test").where(complete & own),
    )
    measured["validation_n"] = measured["validation_mean"].notna()
    groups = measured.groupby("configuration_id", sort=False)
    table = groups.agg(
        {
            **dict.fromkeys([*keys, "chance"], "first"),
            **dict.fromkeys(["n", "diverged", "unfinished", "validation_n"], "sum"),
            **dict.fromkeys(["validation_mean", "test_mean"], "mean"),
            "own_ended": "all",
        }
    ).reset_index()
    scores = metric.scores(trials, "test").where(complete).to_numpy(float)
    states, seeds = trials["state"].to_numpy(), trials["seed"].to_numpy()
    of = {}
    is_own = own.to_numpy()
    for name, places in groups.indices.items():
        numbers = [int(seed) for seed in seeds[places]]
        first = frozenset(n for n, mine in zip(numbers, is_own[places], strict=True) if mine)
        of[name] = _Seeds(
            first,
            frozenset(numbers) - first,
            dict(zip(numbers, states[places], strict=True)),
            dict(zip(numbers, scores[places], strict=True)),
        )
    return table, of


def _question(
    kind: str,
    keys: Sequence[str],
    families: Sequence[tuple[Hashable, ...]],
    rows: pd.DataFrame,
    of: Mapping[Hashable, _Seeds],
) -> Question:
    named = [dict(zip(keys, family, strict=True)) for family in families]
    own = [of[name] for name in rows["configuration_id"]]
    first = sorted(frozenset.intersection(*(one.first for one in own)))
    seeds = [*first, *sorted(frozenset.intersection(*(one.added for one in own)))]
    states = np.array([[one.states[seed] for seed in seeds] for one in own], dtype=object)
    states = states.reshape(len(own), len(seeds))
    scores = np.array([[one.scores[seed] for seed in seeds] for one in own], dtype=float)
    return Question(
        kind=kind,
        where={name: value for name, value in named[0].items() if name != "method"},
        methods=tuple(str(one["method"]) for one in named),
        configurations=tuple(rows["configuration_id"]),
        rho0=tuple(rows["rho0"].astype(float)),
        first=tuple(first),
        seeds=tuple(seeds),
        scores=scores.reshape(len(own), len(seeds)),
        has_ended=np.isin(states, _ENDED),
        has_diverged=states == "DIVERGED",
        chance=first_known(rows["chance"]),
    )
