"""The tasks of a report, and the scores of every method on those that all methods have."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.across_settings.measures import Floats
from analysis.columns import axis_columns
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import task_keys, without_tuned
from analysis.statistics.verdicts import MARGIN, is_chance

Task = tuple[Hashable, ...]

FULL_PRECISION = "full precision"
BOUNDS = "bounds"
NONE = ""
"""How scores of different tasks are made comparable, see `Scores.scale`."""


@dataclass(frozen=True)
class Scores:
    """The scores of methods on the same tasks."""

    variants: Mapping[str, Floats]
    """Name of a method with its values of further axes -> (runs, tasks)."""
    methods: Mapping[str, str]
    """The same names -> the method's own name."""
    tasks: pd.DataFrame
    """One row for each task of the report, with the columns of `aggregate.task_keys`, and
        guess: score of guessing; missing if it is unknown.
        full_precision: highest mean score of a network in full precision; missing without one.
        variants: number of methods, with their values of further axes, that have a result.
        compared: whether it is one of the tasks in the scores.
    """
    left_out: tuple[str, ...]
    """Names of the others, with their values of further axes, which lack some of the tasks; also of
    those without any result."""
    scale: str
    """`FULL_PRECISION`: 0 is guessing, and 1 is the network in full precision. `BOUNDS`: 0 is the
    worst possible value, and 1 the best. `NONE`: the scores of different tasks are not comparable,
    only their order within a task is."""


def scores_of(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    metric: Metric = ACCURACY,
    *,
    margin: float = MARGIN,
) -> Scores:
    """Collect the scores of methods at their selected knobs, on the tasks that all of them have.

    A task is a set in a setting (dataset, model, regime). If methods lack some tasks, as many
    methods and tasks are compared as make the largest table without a gap. Every method has the
    same number of runs on each task: as many as its task with the fewest, by ascending seed. A run
    that diverged has the score of guessing; if that is unknown, the method lacks the task.

    Args:
        selected: result of `selection.select` over rho0 and all knobs, with `classes` or `chance`
            if they are known.
        trials: the trials behind it.
        metric: what they are compared by.
        margin: how far full precision must be above guessing, see `verdicts.is_chance`.
    """
    selected = without_tuned(selected, trials)
    keys = task_keys(selected)
    further = [axis for axis in axis_columns(selected) if axis not in keys]
    guesses = metric.scores_of_guessing(selected)
    rows = selected.assign(
        guess=np.nan if guesses is None else guesses,
        label=_labels(selected, further),
    )
    rows["guess"] = rows["guess"].fillna(rows.groupby(keys)["guess"].transform("first"))
    reference = _full_precision(rows, keys)
    runs = _runs(rows, trials, metric)
    tasks: dict[Task, dict[str, Any]] = {}
    found: dict[str, dict[Task, Floats]] = {}
    columns = [*keys, "label", "guess", "configuration_id"]
    for row in rows.loc[rows["set"] != "", columns].itertuples(index=False, name=None):
        *values, label, guess, configuration = row
        task = tuple(values)
        tasks.setdefault(
            task,
            {
                **dict(zip(keys, task, strict=True)),
                "guess": guess,
                "full_precision": reference.get(_without_set(task, keys), np.nan),
            },
        )
        own = np.where(np.isnan(runs[configuration]), guess, runs[configuration])
        if not np.isnan(own).any():
            found.setdefault(label, {})[task] = own
    names, common = _largest(found)
    compared = [task for task in tasks if task in common]
    described = pd.DataFrame(
        [
            {
                **columns,
                "variants": sum(task in own for own in found.values()),
                "compared": task in compared,
            }
            for task, columns in tasks.items()
        ],
        columns=[*keys, "guess", "full_precision", "variants", "compared"],
    )
    scale, low, high = _scale(described[described["compared"].astype(bool)], metric, margin)
    scaled = {}
    for name in names:
        number = min(len(found[name][task]) for task in compared)
        scores = np.column_stack([found[name][task][:number] for task in compared])
        scaled[name] = (scores - low) / (high - low)
    quantized = rows[rows["set"] != ""]
    own_names = dict(zip(quantized["label"], quantized["method"], strict=True))
    own_names = {name: own_names[name] for name in names}
    left_out = tuple(name for name in _quantized(trials) if name not in scaled)
    return Scores(scaled, own_names, described, left_out, scale)


def _labels(rows: pd.DataFrame, further: Sequence[str]) -> list[str]:
    """The name of each row's method with its values of further axes."""
    return [variant(row, further) for row in rows[["method", *further]].to_dict("records")]


def _quantized(trials: pd.DataFrame) -> dict[str, None]:
    """The names of all methods that quantize, with their values of axes that are not tuned."""
    table = without_tuned(trials[trials["set"] != ""], trials)
    further = [axis for axis in axis_columns(table) if axis not in task_keys(table)]
    return dict.fromkeys(_labels(table.drop_duplicates(["method", *further]), further))


def _full_precision(rows: pd.DataFrame, keys: Sequence[str]) -> dict[Task, float]:
    """Task without its set -> the highest mean score in full precision."""
    full = rows[rows["set"] == ""]
    best = full.groupby([key for key in keys if key != "set"], sort=False)["test_mean"].max()
    return {key if isinstance(key, tuple) else (key,): float(score) for key, score in best.items()}


def _without_set(task: Task, keys: Sequence[str]) -> Task:
    return tuple(value for key, value in zip(keys, task, strict=True) if key != "set")


def _runs(rows: pd.DataFrame, trials: pd.DataFrame, metric: Metric) -> dict[str, Floats]:
    """Configuration -> test scores by ascending seed; NaN for runs that diverged."""
    over = trials[
        trials["state"].isin(("COMPLETE", "DIVERGED"))
        & trials["configuration_id"].isin(rows["configuration_id"])
    ]
    diverged = over["state"] == "DIVERGED"
    over = over.assign(score=metric.scores(over, "test").mask(diverged)).sort_values(
        "seed", kind="stable"
    )
    return {
        str(name): own.to_numpy(float)
        for name, own in over.groupby("configuration_id", sort=False)["score"]
    }


_MOST_CANDIDATES = 1000
"""Sets of tasks that are tried. Their number could double with every method that lacks others."""


def _largest(found: Mapping[str, Mapping[Task, Floats]]) -> tuple[list[str], frozenset[Task]]:
    """Names and tasks of the largest table without a gap, which has two methods if any has.

    Its tasks are those that some methods have in common; of many methods with different gaps, the
    first `_MOST_CANDIDATES` such sets are tried.
    """
    candidates: dict[frozenset[Task], None] = {}
    for own in found.values():
        for other in [frozenset(own), *candidates]:
            if len(candidates) < _MOST_CANDIDATES:
                candidates[other & frozenset(own)] = None
    best: tuple[tuple[bool, int, int], list[str], frozenset[Task]] = (
        (False, 0, 0),
        [],
        frozenset(),
    )
    for chosen in filter(None, candidates):
        names = [name for name, own in found.items() if own.keys() >= chosen]
        rank = (len(names) > 1, len(names) * len(chosen), len(chosen))
        if rank > best[0]:
            best = (rank, names, chosen)
    return best[1], best[2]


def _scale(
    tasks: pd.DataFrame, metric: Metric, margin: float
) -> tuple[str, Floats | float, Floats | float]:
    """The scale of some tasks, and the scores that are 0 and 1 on it."""
    guess, full = tasks["guess"].to_numpy(float), tasks["full_precision"].to_numpy(float)
    known = not (np.isnan(guess).any() or np.isnan(full).any())
    if known and not any(
        is_chance(best, chance, metric.margin(margin, best))
        for best, chance in zip(full, guess, strict=True)
    ):
        return FULL_PRECISION, guess, full
    if metric.least is not None and metric.most is not None:
        low, high = sorted((metric.sign * metric.least, metric.sign * metric.most))
        return BOUNDS, low, high
    return NONE, 0.0, 1.0
