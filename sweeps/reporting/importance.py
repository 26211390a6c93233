"""Optuna's fANOVA on a grid's trials: a second opinion on where the variance comes from."""

import warnings
from collections.abc import Iterator

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances

from analysis.columns import axis_columns
from analysis.statistics.aggregate import SETTING

MOST_TRIALS = 500
"""Its random forest takes ten seconds for twice as many."""
MOST_VALUES = 8
"""Of a set, a method or a seed: its time doubles with each, to minutes for 12 and years for 60."""


def importance_frame(trials: pd.DataFrame) -> pd.DataFrame:
    """As `analysis.columns.IMPORTANCE` says, with a sweep's axes: each setting, and each method.

    The factors are set, method, seed and the place of rho0 in its method's grid, as its values are
    not the same for all. Groups of more than `MOST_TRIALS` finished trials or with a factor of more
    than `MOST_VALUES` values, and factors that do not vary, are left out.

    Args:
        trials: as `analysis.columns.TRIALS` says.
    """
    finished = trials[(trials["state"] == "COMPLETE") & (trials["set"] != "")]
    rows = []
    axes = axis_columns(trials)
    for key, part in finished.groupby([*SETTING, *axes], sort=False):
        groups = [("", part), *part.groupby("method", sort=False)]
        for method, group in groups:
            if len(group) <= MOST_TRIALS:
                for factor, importance in _importances(group):
                    rows.append([*key, method, factor, importance])
    columns = [*SETTING, *axes, "method", "factor", "importance"]
    return pd.DataFrame(rows, columns=columns).astype({"importance": float})


def _importances(part: pd.DataFrame) -> Iterator[tuple[str, float]]:
    place = part.groupby("method")["rho0"].rank("dense").fillna(0).astype(int)
    columns = {"set": part["set"], "method": part["method"], "ρ0": place, "seed": part["seed"]}
    varying = {name: values for name, values in columns.items() if values.nunique() > 1}
    if len(varying) < 2 or part["test_accuracy"].nunique() < 2:
        return
    if any(values.nunique() > MOST_VALUES for name, values in varying.items() if name != "ρ0"):
        return
    distributions: dict[str, BaseDistribution] = {
        name: IntDistribution(int(values.min()), int(values.max()))
        if name == "ρ0"
        else CategoricalDistribution(values.unique().tolist())
        for name, values in varying.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of every study
    study = optuna.create_study(direction="maximize")
    values = zip(*(column.tolist() for column in varying.values()), strict=True)
    study.add_trials(
        [
            optuna.create_trial(
                params=dict(zip(varying, params, strict=True)),
                distributions=distributions,
                value=accuracy,
            )
            for params, accuracy in zip(values, part["test_accuracy"], strict=True)
        ]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is experimental in Optuna
        found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    yield from found.items()
