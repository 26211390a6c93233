"""Optuna's fANOVA on the trials of a grid, as a second estimate of the sources of variance."""

import warnings
from collections.abc import Iterator

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import SETTING

MOST_TRIALS = 500
"""Largest group; for twice as many trials, the random forest takes ten seconds."""
MOST_OF_ALL = 2000
"""Most trials of a report; those of its groups take about 3 ms each."""
MOST_VALUES = 8
"""Most values of a set, method or seed; the time doubles with each one, to minutes for 12."""


def importance_frame(trials: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Estimate the importance of the factors, in each setting and for each of its methods.

    The factors are set, method, seed and the rank of rho0 in its method's grid, as methods have
    different values of rho0. Factors that do not vary are left out, and so are groups with more
    than `MOST_TRIALS` complete trials or a factor with more than `MOST_VALUES` values. There are no
    rows for more than `MOST_OF_ALL` complete trials in all.

    Args:
        trials: table with the columns of `analysis.columns.trials_columns`.
        metric: what the trials are compared by.

    Returns:
        A table with the columns of `analysis.columns.IMPORTANCE`, and one for each further axis.
    """
    finished = trials[(trials["state"] == "COMPLETE") & (trials["set"] != "")]
    finished = finished.assign(score=metric.scores(finished, "test"))
    rows = []
    axes = axis_columns(trials)
    for key, part in finished.groupby([*SETTING, *axes], sort=False):
        groups = [("", part), *part.groupby("method", sort=False)]
        for method, group in groups:
            if len(group) <= MOST_TRIALS and len(finished) <= MOST_OF_ALL:
                for factor, importance in _importances(group):
                    rows.append([*key, method, factor, importance])
    columns = [*SETTING, *axes, "method", "factor", "importance"]
    return pd.DataFrame(rows, columns=columns).astype({"importance": float})


def _importances(part: pd.DataFrame) -> Iterator[tuple[str, float]]:
    rank = part.groupby("method")["rho0"].rank("dense").fillna(0).astype(int)
    columns = {"set": part["set"], "method": part["method"], "ρ0": rank, "seed": part["seed"]}
    varying = {name: values for name, values in columns.items() if values.nunique() > 1}
    if len(varying) < 2 or part["score"].nunique() < 2:
        return
    if any(values.nunique() > MOST_VALUES for name, values in varying.items() if name != "ρ0"):
        return
    distributions: dict[str, BaseDistribution] = {
        name: IntDistribution(int(values.min()), int(values.max()))
        if name == "ρ0"
        else CategoricalDistribution(values.unique().tolist())
        for name, values in varying.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it logs each new study
    study = optuna.create_study(direction="maximize")
    values = zip(*(column.tolist() for column in varying.values()), strict=True)
    study.add_trials(
        [
            optuna.create_trial(
                params=dict(zip(varying, params, strict=True)),
                distributions=distributions,
                value=score,
            )
            for params, score in zip(values, part["score"], strict=True)
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna warns of its experimental features
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    yield from found.items()
