"""Where the variance of a grid comes from: set, method, rho0, their interactions, seed, noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics.aggregate import SETTING, axis_columns, completed

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]

SOURCES = {
    "set": "sets differ",
    "method": "methods differ",
    "set × method": "a method's lead depends on the set",
    "ρ0": "within methods, rho0 matters",
    "set × ρ0": "within methods, what rho0 does depends on the set",
    "seed": "some seeds are better for all",
    "noise": "what is left: seeds differ from one configuration to another",
}
"""Source of variance -> what a large share of it means."""


def variance_split(trials: pd.DataFrame, *, by_method: bool = False) -> pd.DataFrame:
    """Shares of the test accuracies' variance, over the finished trials of each setting.

    Sums of squares are taken in the order of `SOURCES`, each source given those before it; where
    all cells have equally many seeds the order does not matter, but that rho0 is nested in the
    method, as each has values of its own. Full precision and other trials without a set are left
    out. A source with nothing to vary is not listed; where no two configurations share a seed, it
    is part of the noise.

    Columns: dataset, model, regime, further axes (and method with `by_method`), source, degrees
    (of freedom), squares (sum of squares), explained (squares / total), share. The last is the
    omega squared, (squares - degrees * noise) / (total + noise) with the noise's mean square: what
    is left of `explained` once the seeds' luck is taken off, so that it is near 0, on either side,
    where there is nothing. The share of noise is what the others leave of 1.

    Args:
        trials: as `schema.TRIALS` says.
        by_method: split each method on its own.
    """
    keys = [*SETTING, *axis_columns(trials), *(["method"] if by_method else [])]
    quantized = completed(trials)
    quantized = quantized[quantized["set"] != ""]
    rows = []
    for key, part in quantized.groupby(keys, sort=False):
        rows += [{**dict(zip(keys, key, strict=True)), **row} for row in _split(part)]
    return pd.DataFrame(rows, columns=[*keys, "source", "degrees", "squares", "explained", "share"])


def _split(part: pd.DataFrame) -> list[dict[str, float | str]]:
    accuracy = part["test_accuracy"].to_numpy(float)
    set_, method, seed = (_codes(part, [name]) for name in ("set", "method", "seed"))
    of_method = _codes(part, ["method", "rho0"])
    group = _codes(part, ["set", "method"])
    configuration = _codes(part, ["set", "method", "rho0"])
    whole = np.zeros(len(part), dtype=int)
    # Each model adds a source's columns to a saturated one, whose means are taken off first.
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
        squares, columns = _fit(accuracy, saturated, further)
        if source != "mean" and columns > rank:
            found.append((source, columns - rank, residual - squares))
        residual, rank = squares, columns
    degrees = len(part) - rank
    if degrees == 0 and found and found[-1][0] == "seed":  # nothing tells it from noise
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


def _codes(part: pd.DataFrame, names: list[str]) -> Codes:
    return part.groupby(names, dropna=False).ngroup().to_numpy()


def _fit(accuracy: Floats, saturated: Codes, further: Sequence[Codes]) -> tuple[float, int]:
    """Residual sum of squares and rank of a mean for each group plus further main effects.

    Taking the groups' means off first leaves a regression on the further columns alone (Frisch,
    Waugh and Lovell), which are few.
    """
    residual = _centred(accuracy[:, None], saturated)
    rank = int(saturated.max()) + 1
    if further:
        columns = np.hstack([np.eye(codes.max() + 1)[codes] for codes in further])
        solution, _, more, _ = np.linalg.lstsq(
            (centred := _centred(columns, saturated)), residual, rcond=1e-10
        )
        residual = residual - centred @ solution
        rank += int(more)
    return float((residual**2).sum()), rank


def _centred(values: Floats, groups: Codes) -> Floats:
    """Rows less the mean of their group."""
    counts = np.bincount(groups)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, groups, values)
    return values - (sums / counts[:, None])[groups]
