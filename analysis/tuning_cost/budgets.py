"""Budgets: which method is best if each may try so many configurations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.statistics.aggregate import place_of_highest
from analysis.statistics.ties import rounding_between
from analysis.tuning_cost.curves import Curve
from analysis.tuning_cost.family import Expected, half_widths

BUDGETS = (1, 3, 10)
"""Numbers of tries for which methods are compared, besides all of the largest grid."""
AREA = "area"
"""The budget that stands for the mean over all numbers of tries: the area under the curve, divided
by its width."""


def best_of_budgets(curves: Sequence[Curve]) -> pd.DataFrame:
    """Compare the methods of each task if each may try the same number of configurations.

    Args:
        curves: result of `curves.curves_of`.

    Returns:
        One row for each method, set and setting, and each number of tries: those of `BUDGETS` below
        the size of the task's largest grid, that size, and `AREA`. A method with fewer
        configurations has tried all of them. There are no rows if no method of a task has two
        configurations. The columns are those of `curves.tuning_cost` up to chosen_on, and
            budget: number of tries as text, or `AREA`.
            test_mean: expected test score; for `AREA`, the mean of those for 1 to all tries.
            low, high: its 95 % interval over seeds (Student's t), see `family.expected_of`.
            leads: whether no method is significantly better; the differences are paired by seed, as
                in `comparison.with_leaders`.
            wins: whether it is significantly better than every other method.
    """
    tasks: dict[tuple[Any, ...], list[Curve]] = {}
    for curve in curves:
        others = ("method", "configurations", "unfinished", "chosen_on")
        key = tuple(value for name, value in curve.where.items() if name not in others)
        tasks.setdefault(key, []).append(curve)
    rows: list[dict[str, Any]] = []
    for methods in tasks.values():
        most = max(len(curve.expected.mean) for curve in methods)
        if most < 2:
            continue
        tries = [*(budget for budget in BUDGETS if budget < most), most]
        compared = {str(n): [curve.expected.at(n) for curve in methods] for n in tries}
        compared[AREA] = [curve.expected.averaged(most) for curve in methods]
        for budget, expected in compared.items():
            leads, wins = leaders(expected)
            means = np.concatenate([own.mean for own in expected])
            errors = np.concatenate([own.errors for own in expected])
            half = half_widths(errors, np.concatenate([own.degrees for own in expected]))
            numbers = zip(means, means - half, means + half, leads, wins, strict=True)
            for curve, of_method in zip(methods, numbers, strict=True):
                found = dict(zip(_FOUND, of_method, strict=True))
                rows.append({**curve.where, "budget": budget, **found})
    return pd.DataFrame(rows)


_FOUND = ("test_mean", "low", "high", "leads", "wins")


def leaders(expected: Sequence[Expected]) -> tuple[list[bool], list[bool]]:
    """Which of several methods lead, and which one wins; see `comparison.with_leaders`.

    Args:
        expected: one row of each method.
    """
    means = np.array([own.mean[0] for own in expected])
    best = place_of_highest(means)
    seeds = np.unique(np.concatenate([own.seeds for own in expected]))
    deviations = np.zeros((len(expected), len(seeds)))
    for own, row in zip(expected, deviations, strict=True):
        row[np.searchsorted(seeds, own.seeds)] = own.deviations[0]
    degrees = np.array([own.degrees[0] for own in expected])
    errors = np.sqrt(((deviations[best] - deviations) ** 2).sum(axis=1))
    low = means[best] - means - half_widths(errors, np.minimum(degrees, degrees[best]))
    equal = rounding_between(means, means[best])
    others = np.arange(len(expected)) != best
    leads = others & (low <= equal)
    leads[best] = bool((~np.isnan(low[others])).any())
    wins = np.zeros(len(expected), dtype=bool)
    wins[best] = others.any() and bool((low > equal)[others].all())
    return leads.tolist(), wins.tolist()
