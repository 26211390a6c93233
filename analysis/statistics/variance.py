"""Decomposition of the variance over a grid: set, method, rho0, interactions, seed and noise."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import SETTING, completed, places_by

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

SOURCES = {
    "set": "The sets differ.",
    "method": "The methods differ.",
    "set × method": "The difference between methods depends on the set.",
    "ρ0": "Within a method, rho0 has an effect.",
    "set × ρ0": "Within a method, the effect of rho0 depends on the set.",
    "seed": "Some seeds are better than others for all configurations.",
    "noise": "The effect of a seed depends on the configuration.",
}
"""Source of variance -> what a large share of it means."""


def variance_split(
    trials: pd.DataFrame, metric: Metric = ACCURACY, *, by_method: bool = False
) -> pd.DataFrame:
    """Decompose the variance of the test scores of each setting into its sources.

    Sums of squares are sequential in the order of `SOURCES`. In a balanced grid the order has no
    effect, except that rho0 is nested in the method, as every method has its own values. Only
    COMPLETE trials with a quantization set count. A source that does not vary is not listed, and
    the seed is part of the noise if no two configurations have a seed in common.

    Args:
        trials: columns of `columns.trials_columns`.
        metric: what the trials are compared by.
        by_method: decompose the variance of each method separately.

    Returns:
        One row per source, with the columns dataset, model, regime, further axes, method (only with
        `by_method`), source, and
            degrees: degrees of freedom.
            squares: sum of squares.
            explained: squares / total.
            share: omega squared, (squares - degrees * noise) / (total + noise) with the mean square
                of the noise. It is close to 0 (it may be negative) for a source without effect. The
                share of the noise is the remainder to 1.
    """
    keys = [*SETTING, *axis_columns(trials), *(["method"] if by_method else [])]
    quantized = completed(trials)
    quantized = quantized[quantized["set"] != ""]
    factors = {
        name: pd.factorize(quantized[name], sort=True, use_na_sentinel=False)[0]
        for name in ("set", "method", "rho0", "seed")
    }
    scores = metric.scores(quantized, "test").to_numpy(float)
    rows = []
    for key, places in places_by(quantized, keys):
        split = _split(scores[places], {name: codes[places] for name, codes in factors.items()})
        rows += [{**dict(zip(keys, key, strict=True)), **row} for row in split]
    return pd.DataFrame(rows, columns=[*keys, "source", "degrees", "squares", "explained", "share"])


def _split(score: Floats, factors: Mapping[str, Codes]) -> list[dict[str, float | str]]:
    """The rows of one decomposition.

    Args:
        score: (trials,).
        factors: set, method, rho0 and seed of each trial, as numbers.
    """
    set_, method, seed = (_codes(factors, [name]) for name in ("set", "method", "seed"))
    of_method = _codes(factors, ["method", "rho0"])
    group = _codes(factors, ["set", "method"])
    configuration = _codes(factors, ["set", "method", "rho0"])
    whole = np.zeros(len(score), dtype=int)
    # Each model adds a source's columns to a saturated one, whose means are subtracted first.
    models: Sequence[tuple[str, Codes, Sequence[Codes]]] = (
        ("mean", whole, ()),
        ("set", set_, ()),
        ("method", set_, (method,)),
        ("set × method", group, ()),
        ("ρ0", group, (of_method,)),
        ("set × ρ0", configuration, ()),
        ("seed", configuration, (seed,)),
    )
    residual, rank = 0.0, 0
    found: list[tuple[str, int, float]] = []
    for source, saturated, further in models:
        # No column of ρ0 has trials of two methods, so that each method is a problem of its own.
        blocks = method if source == "ρ0" else whole
        squares, columns = _fit(score, saturated, further, blocks)
        if source != "mean" and columns > rank:
            found.append((source, columns - rank, residual - squares))
        residual, rank = squares, columns
    degrees = len(score) - rank
    if degrees == 0 and found and found[-1][0] == "seed":  # it cannot be separated from the noise
        _, degrees, residual = found.pop()
    total = residual + sum(squares for _, _, squares in found)
    noise = residual / degrees if degrees else float("nan")
    rows: list[dict[str, float | str]] = []
    left = 1.0
    for source, freedom, squares in [*found, ("noise", degrees, residual)]:
        share = left if degrees and total > 0 else float("nan")
        if source != "noise":
            share = (squares - freedom * noise) / (total + noise) if total > 0 else float("nan")
            left -= share
        rows.append(
            {
                "source": source,
                "degrees": freedom,
                "squares": squares,
                "explained": squares / total if total > 0 else float("nan"),
                "share": share,
            }
        )
    return rows


def _codes(factors: Mapping[str, Codes], names: Sequence[str]) -> Codes:
    """The combinations of some factors, numbered from 0 in the order of their values."""
    codes = _numbered(factors[names[0]])
    for name in names[1:]:
        codes = _numbered(codes * (factors[name].max() + 1) + factors[name])
    return codes


def _numbered(codes: Codes) -> Codes:
    """Codes in the same order, numbered from 0 without those that do not occur."""
    occurs = np.bincount(codes) > 0
    return (np.cumsum(occurs) - 1)[codes]


def _fit(
    score: Floats, saturated: Codes, further: Sequence[Codes], blocks: Codes
) -> tuple[float, int]:
    """Residual sum of squares and rank of a model with group means and further main effects.

    Subtracting the group means leaves a regression on the few further columns alone (theorem of
    Frisch, Waugh and Lovell).

    Args:
        score: (trials,).
        saturated: the group of each trial.
        further: factors with main effects.
        blocks: the part of the trials to which each belongs. Parts that share no group and no value
            of a factor are fitted one by one.
    """
    residual = _centred(score[:, None], saturated)
    rank = int(saturated.max()) + 1
    if further:
        for block in np.unique(blocks):
            rows = np.flatnonzero(blocks == block)
            dummies = [_numbered(codes[rows]) for codes in further]
            columns = np.hstack([np.eye(codes.max() + 1)[codes] for codes in dummies])
            groups = _numbered(saturated[rows])
            solution, _, more, _ = np.linalg.lstsq(
                (centred := _centred(columns, groups)), residual[rows], rcond=1e-10
            )
            residual[rows] -= centred @ solution
            rank += int(more)
    return float((residual**2).sum()), rank


def _centred(values: Floats, groups: Codes) -> Floats:
    """Rows minus the mean of their group."""
    counts = np.bincount(groups)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, groups, values)
    return values - (sums / counts[:, None])[groups]
