"""Selection of rho0 on validation or test images, and the bias of the latter."""

from collections.abc import Hashable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import (
    SPLITS,
    completed,
    family_keys,
    place_of_highest,
    places_by,
)

Split = Literal["validation", "test"]


def select(
    table: pd.DataFrame, wanted: Split = "validation", keys: Sequence[str] | None = None
) -> pd.DataFrame:
    """Select the rho0 with the highest mean score for each method, set and setting.

    Configurations without a finished trial are not candidates, nor are those with more diverged
    seeds than another. Of several with equal means, the first is selected.

    Args:
        table: result of `aggregate.configurations`.
        wanted: ``"validation"``, so that the test scores have no part in the choice, or
            ``"test"`` as in the papers, which is optimistic (see `optimism`).
        keys: columns that are the same for the configurations of which one is selected; None for
            `aggregate.family_keys`, so that it is a rho0 that is selected.

    Returns:
        The selected rows with the further columns
            chosen_on: the split of the choice, or an empty text if there was only one candidate. It
                is ``"test"`` whenever some finished trial of the candidates has no validation
                score.
            unfinished_rho0: number of other rho0 with trials that have not finished.
    """
    keys = family_keys(table) if keys is None else list(keys)
    rows: list[int] = []
    chosen_on = []
    waits = table["rho0"].notna() & (table["unfinished"] > 0)
    families = [table[key] for key in keys]
    unfinished = waits.groupby(families, sort=False).transform("sum") - waits
    finished = table[table["n"] > 0]
    has_validation = (finished["validation_n"] == finished["n"]).to_numpy()
    diverged = finished["diverged"].to_numpy()
    means = {split: finished[f"{split}_mean"].to_numpy(float) for split in SPLITS}
    for _, places in places_by(finished, keys):
        split: Split = "test" if not has_validation[places].all() else wanted
        steady = places[diverged[places] == diverged[places].min()]
        rows.append(int(steady[place_of_highest(means[split][steady])]))
        chosen_on.append(split if len(places) > 1 else "")
    chosen = finished.assign(unfinished_rho0=unfinished).iloc[rows].reset_index(drop=True)
    return chosen.assign(chosen_on=chosen_on)


def optimism(trials: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Estimate how much a choice of rho0 on test images overestimates the test score.

    Each seed is left out once: rho0 is chosen by the mean test score of the other seeds, and the
    score of the left-out seed is taken at that rho0. The mean of these scores is unbiased if
    the rho0 are equally good, and the optimism is the best mean minus this mean. It does not
    include the bias that all seeds share one set of test images. Seeds that are not COMPLETE at
    every rho0 are left out of the estimate.

    Args:
        trials: columns of `columns.trials_columns`.
        metric: what the trials are compared by.

    Returns:
        One row for each method, set and setting with two or more rho0. The columns are the keys of
        a configuration without rho0, further axes, choices (number of rho0), seeds, best_of_test,
        left_out and optimism; the last three are missing for fewer than two seeds.
    """
    keys = family_keys(trials)
    rows: list[dict[Hashable, Any]] = []
    annealed = completed(trials).dropna(subset="rho0")
    scores = metric.scores(annealed, "test").to_numpy(float)
    rho0, seeds = annealed["rho0"].to_numpy(), annealed["seed"].to_numpy()
    for key, places in places_by(annealed, keys):
        choices, choice = np.unique(rho0[places], return_inverse=True)
        if len(choices) < 2:
            continue
        _, seed = np.unique(seeds[places], return_inverse=True)
        by_seed = np.full((seed.max() + 1, len(choices)), np.nan)
        by_seed[seed, choice] = scores[places]
        complete = by_seed[~np.isnan(by_seed).any(axis=1)]
        best, left_out = best_of_test(complete)
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                "choices": len(choices),
                "seeds": len(complete),
                "best_of_test": best,
                "left_out": left_out,
                "optimism": best - left_out,
            }
        )
    columns = [*keys, "choices", "seeds", "best_of_test", "left_out", "optimism"]
    return pd.DataFrame(rows, columns=columns)


def best_of_test(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Best mean of the test scores, and mean score of the seeds left out of the choice.

    Args:
        scores: (seeds, choices).

    Returns:
        Both; NaN for fewer than two seeds.
    """
    seeds = len(scores)
    if seeds < 2:
        return float("nan"), float("nan")
    others = (scores.sum(axis=0) - scores) / (seeds - 1)
    ties = others == others.max(axis=1, keepdims=True)  # ties are drawn at random: their mean
    left_out = (np.where(ties, scores, 0).sum(axis=1) / ties.sum(axis=1)).mean()
    return float(scores.mean(axis=0).max()), float(left_out)
