"""How much accuracy depends on rho0, beyond what the seeds make of it."""

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.aggregate import (
    KEYS,
    SETTING,
    axis_columns,
    completed,
    family_keys,
    highest,
)
from analysis.intervals import CONFIDENCE, NUM_RESAMPLES

MARGIN = 0.03
"""A method that may lose more than this by its rho0 must be tuned."""
VERDICTS: Mapping[str, str] = {
    "sensitive": "the range exceeds the margin, and seeds alone would hardly make it",
    "stable": "even the upper end of the range stays within the margin",
    "mild": "a real effect, within the margin; its upper end is not",
    "noise": "seeds alone may well make this range, and it may be beyond the margin as well",
    "untested": "fewer than two finished seeds, so that nothing tells noise from effect",
}
"""Verdict -> the rule behind it; see `sensitivity`."""
_WORST_FIRST = ("sensitive", "noise", "untested", "mild", "stable")
_SEED = 20211

Floats = NDArray[np.float64]


def sensitivity(
    table: pd.DataFrame, trials: pd.DataFrame | None = None, *, margin: float = MARGIN
) -> pd.DataFrame:
    """One row a method, set and setting with two finished rho0 or more; test accuracies.

    "Seeds alone would hardly make it": the one-way analysis of variance over the rho0 has
    p < 0.05, after Benjamini and Hochberg's correction for all rows of this table. The upper end of
    the range is that of Tukey's simultaneous 95 % intervals of all differences (Tukey and Kramer's
    if some rho0 have fewer seeds). Both take the seeds' variance to be the same at every rho0.

    Columns, beside the keys up to rho0:
        choices: how many rho0 have a finished trial.
        lowest_rho0, highest_rho0, decades: the grid's span; decades = log10(highest / lowest).
        best_rho0, best, worst_rho0, worst: by mean test accuracy.
        range: best - worst.
        relative_drop: range / best.
        range_upper: upper end of the range.
        slope: least squares of accuracy on log10 rho0, per decade.
        p, p_corrected: of the analysis of variance, before and after correction.
        p_best: probability that best_rho0 is best, over resampled seeds; missing without `trials`.
        verdict: a key of `VERDICTS`.

    Args:
        table: what `aggregate.configurations` gives, or published means and deviations in its form.
        trials: what it was made of, for p_best.
        margin: as a fraction.
    """
    keys = family_keys(table)
    probabilities = {} if trials is None else _probabilities(trials, keys)
    rows: list[dict[Hashable, Any]] = []
    finished = table[(table["n"] > 0) & table["rho0"].notna()]
    for key, part in finished.groupby(keys, sort=False):
        if part["rho0"].nunique() < 2:
            continue
        row = _row(part)
        p_best = probabilities.get(key, {}).get(row["best_rho0"], np.nan)
        rows.append({**dict(zip(keys, key, strict=True)), **row, "p_best": p_best})
    columns = [*keys, *_COLUMNS]
    found = pd.DataFrame(rows, columns=columns)
    tested = found["p"].notna()
    found["p_corrected"] = np.nan
    if tested.any():
        found.loc[tested, "p_corrected"] = stats.false_discovery_control(found.loc[tested, "p"])
    found["verdict"] = [
        _verdict(range_, upper, p, margin)
        for range_, upper, p in zip(
            found["range"], found["range_upper"], found["p_corrected"], strict=True
        )
    ]
    return found


_COLUMNS = (
    "choices",
    "lowest_rho0",
    "highest_rho0",
    "decades",
    "best_rho0",
    "best",
    "worst_rho0",
    "worst",
    "range",
    "relative_drop",
    "range_upper",
    "slope",
    "p",
    "p_best",
)


def _row(part: pd.DataFrame) -> dict[Hashable, float]:
    """What is said of one method, set and setting."""
    rho0 = part["rho0"].to_numpy(float)
    mean, std, n = (part[name].to_numpy(float) for name in ("test_mean", "test_std", "n"))
    best, worst = int(mean.argmax()), int(mean.argmin())
    positive = rho0 > 0  # a logarithm has no place for zero
    range_ = mean[best] - mean[worst]
    p, half_width = _against_seeds(mean, std, n)
    return {
        "choices": len(rho0),
        "lowest_rho0": rho0.min(),
        "highest_rho0": rho0.max(),
        "decades": np.log10(rho0.max() / rho0.min()) if rho0.min() > 0 else np.nan,
        "best_rho0": rho0[best],
        "best": mean[best],
        "worst_rho0": rho0[worst],
        "worst": mean[worst],
        "range": range_,
        "relative_drop": range_ / mean[best] if mean[best] > 0 else np.nan,
        "range_upper": range_ + half_width,
        "slope": slope_per_decade(rho0[positive], mean[positive], n[positive]),
        "p": p,
    }


def slope_per_decade(rho0: Floats, mean: Floats, n: Floats) -> float:
    """Least squares over all seeds' accuracies on log10 rho0; NaN for fewer than two rho0."""
    decades = np.log10(rho0)
    if len(np.unique(decades)) < 2:
        return float("nan")
    return float(np.polyfit(decades, mean, 1, w=np.sqrt(n))[0])


def _against_seeds(mean: Floats, std: Floats, n: Floats) -> tuple[float, float]:
    """The p of a one-way analysis of variance, and half the width of Tukey's widest interval.

    From means, deviations and counts alone, as published tables have no more. NaN where no rho0 has
    two seeds.
    """
    degrees = float((n - 1).sum())
    if degrees < 1:
        return float("nan"), float("nan")
    inner = float((np.where(n > 1, n - 1, 0) * np.nan_to_num(std) ** 2).sum())
    between = float((n * (mean - np.average(mean, weights=n)) ** 2).sum())
    choices = len(mean)
    if inner == 0:
        return (1.0 if between <= 1e-24 else 0.0), 0.0
    variance = inner / degrees
    p = float(stats.f.sf(between / (choices - 1) / variance, choices - 1, degrees))
    best, worst = int(mean.argmax()), int(mean.argmin())
    width = np.sqrt(variance / 2 * (1 / n[best] + 1 / n[worst]))
    return p, _studentized(choices, degrees) * float(width)


@cache
def _studentized(choices: int, degrees: float) -> float:
    return float(stats.studentized_range.ppf(CONFIDENCE, choices, degrees))


def _verdict(range_: float, upper: float, p: float, margin: float) -> str:
    if np.isnan(p):
        return "untested"
    beyond_noise = p < 1 - CONFIDENCE
    if beyond_noise and range_ > margin:
        return "sensitive"
    if upper <= margin:
        return "stable"
    return "mild" if beyond_noise else "noise"


def regrets(table: pd.DataFrame, trials: pd.DataFrame) -> pd.DataFrame:
    """One row a finished configuration with a rho0: what choosing that one would cost.

    Columns: the keys, further axes, n, test_mean, regret (how much lower than the best mean test
    accuracy over rho0), p_best (probability that it is the best, over resampled seeds).
    """
    keys = family_keys(table)
    probabilities = _probabilities(trials, keys)
    finished = table[(table["n"] > 0) & table["rho0"].notna()]
    best = finished.groupby(keys, sort=False)["test_mean"].transform("max")
    p_best = [
        probabilities.get(tuple(row[:-1]), {}).get(row[-1], np.nan)
        for row in finished[[*keys, "rho0"]].itertuples(index=False)
    ]
    columns = [*KEYS, *axis_columns(table), "n", "test_mean"]
    found = finished[columns].assign(regret=best - finished["test_mean"], p_best=p_best)
    return found.reset_index(drop=True)


def _probabilities(
    trials: pd.DataFrame, keys: list[str]
) -> dict[tuple[Hashable, ...], dict[float, float]]:
    """Method, set and setting -> rho0 -> how often it has the best mean of resampled seeds."""
    rng = np.random.default_rng(_SEED)
    annealed = completed(trials).dropna(subset="rho0")
    result: dict[tuple[Hashable, ...], dict[float, float]] = {}
    for key, part in annealed.groupby(keys, sort=False):
        accuracies = part["test_accuracy"].to_numpy()
        rho0, places = np.unique(part["rho0"].to_numpy(), return_inverse=True)
        values = [accuracies[places == place] for place in range(len(rho0))]
        result[key] = dict(zip(rho0.tolist(), probability_best(values, rng), strict=True))
    return result


def probability_best(values: list[Floats], rng: np.random.Generator) -> list[float]:
    """How often each choice has the highest mean when its seeds are drawn anew.

    Each choice's seeds are resampled on their own, with replacement; equal means share. NaN for all
    where one has a single seed, which resampling would take to be certain.

    Args:
        values: accuracies of each choice, one a seed.
        rng: where resamples are drawn from.
    """
    if min(map(len, values)) < 2:
        return [float("nan")] * len(values)
    means = np.stack(
        [own[rng.integers(len(own), size=(NUM_RESAMPLES, len(own)))].mean(axis=1) for own in values]
    )
    # Means of the same seeds in another order are equal but for rounding.
    is_best = means >= means.max(axis=0) - 1e-12
    return [float(share) for share in (is_best / is_best.sum(axis=0)).mean(axis=1)]


def method_verdicts(found: pd.DataFrame, *, margin: float = MARGIN) -> pd.DataFrame:
    """One row a method and setting: may its rho0 be left untuned?

    A method is what the worst of its sets is: sensitive; else noise or untested, which leave it
    open; else mild; and stable only if it is so on every set.

    Columns: dataset, model, regime, method, verdict, decades (the widest grid's), range (the
    widest), at (set of the widest), reason (one line).

    Args:
        found: what `sensitivity` gave, with the same margin.
        margin: as a fraction.
    """
    rows = []
    for key, part in found.groupby([*SETTING, "method"], sort=False):
        verdict = min(part["verdict"], key=_WORST_FIRST.index)
        widest = highest(part, "range")
        where = " ".join(filter(None, [widest["set"], *(widest[axis_columns(part)])]))
        counted = part["verdict"].value_counts()
        counts = ", ".join(f"{counted[kind]} {kind}" for kind in _WORST_FIRST if kind in counted)
        upper = widest["range_upper"]
        rows.append(
            {
                **dict(zip([*SETTING, "method"], key, strict=True)),
                "verdict": verdict,
                "decades": part["decades"].max(),
                "range": widest["range"],
                "at": where,
                "reason": f"moves by up to {100 * widest['range']:.1f} points"
                + ("" if np.isnan(upper) else f" (at most {100 * upper:.1f} at 95 %)")
                + f" on {where or 'its set'}, around {100 * widest['best']:.1f} % at best; "
                f"margin {100 * margin:g}; sets: {counts}",
            }
        )
    columns = [*SETTING, "method", "verdict", "decades", "range", "at", "reason"]
    return pd.DataFrame(rows, columns=columns)
