"""How much accuracy depends on rho0, beyond what the seeds make of it."""

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.rounding import rho0_label
from analysis.statistics.aggregate import (
    KEYS,
    SETTING,
    WITHOUT,
    axis_columns,
    completed,
    family_keys,
    highest,
)
from analysis.statistics.intervals import CONFIDENCE, NUM_RESAMPLES

MARGIN = 0.03
"""A method that may lose more than this by its rho0 must be tuned."""
COLLAPSE = 10
"""A seed that falls so many margins below all seeds of the best rho0 has collapsed."""
VERDICTS: Mapping[str, str] = {
    "sensitive": "a ρ0 at which seeds diverge or collapse, or a range that exceeds the margin "
    "and that seeds alone would hardly make",
    "at chance": "at no ρ0 does the mean accuracy leave chance, or all trials diverge: no ρ0 "
    "that was tried works",
    "unfinished": "none of these, and trials are missing",
    "untested": "a ρ0 with fewer than two seeds, or none that differ: noise cannot be told",
    "noise": "seeds alone may well make this range, and it may be beyond the margin as well",
    "mild": "a real effect, within the margin; its upper end is not",
    "stable": "even the upper end of the range stays within the margin",
}
"""Verdict, the worst first -> the rule behind it; see `sensitivity`."""
_OPEN = tuple(column for column in WITHOUT if column != "diverged")
"""Columns that count trials of which nobody knows what they would have come to."""
_SEED = 20211
_ROUNDING = 1e-9

Floats = NDArray[np.float64]


def sensitivity(
    table: pd.DataFrame, trials: pd.DataFrame | None = None, *, margin: float = MARGIN
) -> pd.DataFrame:
    """One row a method, set and setting with two rho0 or more in its grid; test accuracies.

    "Seeds alone would hardly make it": the one-way analysis of variance over the rho0 has
    p < 0.05, after Benjamini and Hochberg's correction for all rows of this table. The upper end of
    the range is that of Tukey's simultaneous 95 % intervals of all differences (Tukey and Kramer's
    if some rho0 have fewer seeds). Both take the seeds' variance to be the same everywhere. Where
    some seeds collapse it is not, for which there is a rule of its own: a seed has collapsed that
    lies `COLLAPSE` margins below all those of the best rho0.

    Columns, beside the keys up to rho0:
        grid: how many rho0 there are.
        choices: how many of them have a finished trial.
        diverged: trials that have diverged.
        collapsed: trials that have collapsed; missing without `trials`.
        chance: accuracy of guessing, 1 / number of classes; missing where the table has none.
        missing: trials that have not come to an end: failed, stopped, unfinished or absent.
        lowest_rho0, highest_rho0, decades: the span of these; decades = log10(highest / lowest).
        best_rho0, best, worst_rho0, worst: by mean test accuracy.
        range: best - worst.
        relative_drop: range / best.
        range_upper: upper end of the range.
        slope: least squares of accuracy on log10 rho0, per decade.
        alike_decades, alike_range: the most it moves over any `alike_decades`, with straight lines
            between its rho0 on a logarithmic axis. These are the narrowest grid's of the methods of
            the same setting, so that a wide grid and a narrow one can be set side by side.
        p, p_corrected: of the analysis of variance, before and after correction.
        p_best: probability that best_rho0 is best, over resampled seeds; missing without `trials`.
        verdict: a key of `VERDICTS`, which holds for the rho0 that were tried.

    Args:
        table: what `aggregate.configurations` gives, or published means and deviations in its form.
        trials: what it was made of, for p_best.
        margin: as a fraction.
    """
    keys = family_keys(table)
    probabilities = {} if trials is None else _probabilities(trials, keys)
    seeds = {} if trials is None else _accuracies(trials, keys)
    rows: list[dict[Hashable, Any]] = []
    for key, part in table[table["rho0"].notna()].groupby(keys, sort=False):
        if part["rho0"].nunique() < 2:
            continue
        row = _row(part)
        p_best = probabilities.get(key, {}).get(row["best_rho0"], np.nan)
        collapsed = _collapsed(seeds.get(key, {}), row["best_rho0"], COLLAPSE * margin)
        row |= {"collapsed": collapsed, "p_best": p_best}
        rows.append({**dict(zip(keys, key, strict=True)), **row})
    found = pd.DataFrame(rows, columns=[*keys, *_COLUMNS])
    tested = found["p"].notna()
    found["p_corrected"] = np.nan
    if tested.any():
        found.loc[tested, "p_corrected"] = stats.false_discovery_control(found.loc[tested, "p"])
    found["verdict"] = [_verdict(row, margin) for _, row in found.iterrows()]
    return _over_equal_spans(found, table)


_COLUMNS = (
    "grid",
    "choices",
    "diverged",
    "collapsed",
    "missing",
    "chance",
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
    counts: dict[Hashable, float] = {
        "grid": part["rho0"].nunique(),
        "diverged": part["diverged"].sum(),
        "missing": part[list(_OPEN)].sum().sum(),
        "chance": 1 / part["classes"].iloc[0] if "classes" in part else np.nan,
    }
    part = part[part["n"] > 0]
    rho0 = part["rho0"].to_numpy(float)
    if not len(rho0):
        return {**dict.fromkeys(_COLUMNS, np.nan), **counts, "choices": 0}
    mean, std, n = (part[name].to_numpy(float) for name in ("test_mean", "test_std", "n"))
    best, worst = int(mean.argmax()), int(mean.argmin())
    positive = rho0 > 0  # a logarithm has no place for zero
    range_ = mean[best] - mean[worst]
    p, half_width = _against_seeds(mean, std, n)
    return {
        **counts,
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
        "range_upper": min(range_ + half_width, 1.0),
        "slope": slope_per_decade(rho0[positive], mean[positive], n[positive]),
        "p": p,
    }


def _over_equal_spans(found: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """With `alike_decades` and `alike_range`."""
    keys = family_keys(table)
    curves = {
        key: (np.log10(part["rho0"].to_numpy(float)), part["test_mean"].to_numpy(float))
        for key, part in table[(table["n"] > 0) & (table["rho0"] > 0)].groupby(keys, sort=False)
    }
    spans = found["decades"].where(found["decades"] > 0)
    spans = spans.groupby([found[key] for key in SETTING]).transform("min")
    ranges = [
        np.nan if np.isnan(span) or key not in curves else range_within(*curves[key], span)
        for key, span in zip(found[keys].itertuples(index=False, name=None), spans, strict=True)
    ]
    return found.assign(alike_decades=spans, alike_range=ranges)


def range_within(places: Floats, heights: Floats, span: float) -> float:
    """The largest difference of a broken line between two places that are at most `span` apart.

    It is taken where both are corners, or one is and the other `span` away.

    Args:
        places: (corners,) of the line, in any order.
        heights: (corners,).
        span: >= 0, in the unit of the places.
    """
    order = np.argsort(places)
    places, heights = places[order], heights[order]
    others = np.concatenate([places, places - span, places + span]).clip(places[0], places[-1])
    near = np.abs(places[:, None] - others) <= span * (1 + _ROUNDING)
    differences = np.abs(heights[:, None] - np.interp(others, places, heights))
    return float(differences[near].max())


def _accuracies(
    trials: pd.DataFrame, keys: list[str]
) -> dict[tuple[Hashable, ...], dict[float, Floats]]:
    """Method, set and setting -> rho0 -> the seeds' test accuracies."""
    annealed = completed(trials).dropna(subset="rho0")
    result = {}
    for key, part in annealed.groupby(keys, sort=False):
        rho0, places = np.unique(part["rho0"].to_numpy(float), return_inverse=True)
        accuracies = part["test_accuracy"].to_numpy(float)
        result[key] = {value: accuracies[places == at] for at, value in enumerate(rho0.tolist())}
    return result


def _collapsed(accuracies: Mapping[float, Floats], best_rho0: float, depth: float) -> float:
    if best_rho0 not in accuracies:
        return float("nan")
    floor = accuracies[best_rho0].min() - depth
    return float(sum((own < floor).sum() for own in accuracies.values()))


def slope_per_decade(rho0: Floats, mean: Floats, n: Floats) -> float:
    """Least squares over all seeds' accuracies on log10 rho0; NaN for fewer than two rho0."""
    decades = np.log10(rho0)
    if len(np.unique(decades)) < 2:
        return float("nan")
    return float(np.polyfit(decades, mean, 1, w=np.sqrt(n))[0])


def _against_seeds(mean: Floats, std: Floats, n: Floats) -> tuple[float, float]:
    """The p of a one-way analysis of variance, and half the width of Tukey's widest interval.

    From means, deviations and counts alone, as published tables have no more. NaN where some rho0
    has no second seed, and where no two seeds differ but the rho0 do.
    """
    degrees = float((n - 1).sum())
    choices = len(mean)
    if choices < 2 or (n < 2).any():
        return float("nan"), float("nan")
    inner = float(((n - 1) * std**2).sum())
    between = float((n * (mean - np.average(mean, weights=n)) ** 2).sum())
    if inner <= _ROUNDING**2:  # such as networks that all stay at chance
        return (1.0, 0.0) if between <= _ROUNDING**2 else (float("nan"), float("nan"))
    variance = inner / degrees
    p = float(stats.f.sf(between / (choices - 1) / variance, choices - 1, degrees))
    best, worst = int(mean.argmax()), int(mean.argmin())
    width = np.sqrt(variance / 2 * (1 / n[best] + 1 / n[worst]))
    return p, _studentized(choices, degrees) * float(width)


@cache
def _studentized(choices: int, degrees: float) -> float:
    return float(stats.studentized_range.ppf(CONFIDENCE, choices, degrees))


def _verdict(row: pd.Series, margin: float) -> str:
    p, range_, upper = row["p_corrected"], row["range"], row["range_upper"]
    beyond_noise = p < 1 - CONFIDENCE
    if row["choices"] == 0 and row["diverged"] > 0 and row["missing"] == 0:
        return "at chance"
    if row["diverged"] > 0 or row["collapsed"] > 0 or (beyond_noise and range_ > margin):
        return "sensitive"
    if row["best"] - row["chance"] <= min(margin, row["chance"]):
        return "at chance"
    if row["missing"] > 0:
        return "unfinished"
    if np.isnan(p):
        return "untested"
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
    return {
        key: dict(zip(by_rho0, probability_best(list(by_rho0.values()), rng), strict=True))
        for key, by_rho0 in _accuracies(trials, keys).items()
    }


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

    A method is what the worst of its sets is, in the order of `VERDICTS`.

    Columns: dataset, model, regime, method, verdict, decades (the widest grid's), range (the
    widest), at (set of the widest), alike_decades and alike_range (the widest, over equal spans of
    rho0), reason (one line).

    Args:
        found: what `sensitivity` gave, with the same margin.
        margin: as a fraction.
    """
    rows = []
    order = list(VERDICTS)
    for key, part in found.groupby([*SETTING, "method"], sort=False):
        counted = part["verdict"].value_counts()
        widest = highest(part.fillna({"range": -1.0}), "range")
        where = " ".join(filter(None, [widest["set"], *(widest[axis_columns(part)])]))
        rows.append(
            {
                **dict(zip([*SETTING, "method"], key, strict=True)),
                "verdict": min(part["verdict"], key=order.index),
                "decades": part["decades"].max(),
                "range": widest["range"],
                "at": where,
                "alike_decades": widest["alike_decades"],
                "alike_range": part["alike_range"].max(),
                "reason": _reason(part, widest, where, margin)
                + ", ".join(f"{counted[kind]} {kind}" for kind in order if kind in counted),
            }
        )
    columns = [*SETTING, "method", "verdict", "decades", "range", "at", "alike_decades"]
    columns += ["alike_range", "reason"]
    return pd.DataFrame(rows, columns=columns)


def _span(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low}" if low == high else f"{low} to {high}"


def _reason(part: pd.DataFrame, widest: pd.Series, where: str, margin: float) -> str:
    counts = part[["diverged", "collapsed", "missing"]].sum()
    trials = [f"trials {name}: {count:.0f}" for name, count in counts.items() if count]
    if widest["choices"] < 2:
        said = "no two ρ0 finished"
    else:
        upper = widest["range_upper"]
        said = (
            f"moves by up to {100 * widest['range']:.1f} points"
            + ("" if np.isnan(upper) else f" (at most {100 * upper:.1f} at 95 %)")
            + f" on {where or 'its set'}, around {100 * widest['best']:.1f} % at best; "
            f"{_span(part['choices'])} of {_span(part['grid'])} ρ0{_tried(part)}"
        )
    return "; ".join([said, *trials, f"margin {100 * margin:g}", "sets: "])


def _tried(part: pd.DataFrame) -> str:
    """From which rho0 to which, and what is left of the range over as few decades as others'."""
    low, high = part["lowest_rho0"].min(), part["highest_rho0"].max()
    said = f" from {rho0_label(low)} to {rho0_label(high)}"
    decades, alike = part["decades"].max(), part["alike_decades"].min()
    if np.isnan(decades):
        return said
    said += f", {decades:.1f} decades"
    if alike < decades * (1 - _ROUNDING):
        said += f" ({100 * part['alike_range'].max():.1f} points over any {alike:.1f} of them)"
    return said
