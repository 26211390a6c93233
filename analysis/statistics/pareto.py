"""The Pareto front of sizes and values: networks that no other network beats in both."""

import pandas as pd

from analysis.metric import ACCURACY, Metric


def pareto_front(points: pd.DataFrame, by: str = "bits", metric: Metric = ACCURACY) -> pd.DataFrame:
    """The Pareto front, in ascending order of the size.

    Args:
        points: with `test_mean`, a value, and the column `by`.
        by: column of the size.
        metric: what the points are compared by.
    """
    ordered = points.sort_values([by, "test_mean"], ascending=[True, not metric.higher_is_better])
    scores = metric.sign * ordered["test_mean"]
    return ordered[scores > scores.cummax().shift(fill_value=float("-inf"))]
