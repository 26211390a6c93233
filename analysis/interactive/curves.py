"""The learning curves of a sweep, for the chart in which a reader can look at their values."""

from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.interactive.dimensions import of_metric
from analysis.schema import Measurements
from analysis.statistics.curves import Curves

_COLUMNS = {"mean": "mean", "low": "min", "high": "max"}
"""Name in JSON -> column of `Curves.of`."""


def curves_document(
    measurements: Measurements, selected: pd.DataFrame, places: dict[str, int]
) -> dict[str, Any] | None:
    """The validation values after each epoch as JSON; None if no selected configuration has any.

    They are those of the figure `learning_curves`.

    Args:
        measurements: the trials, their metric and their history.
        selected: result of `selection.select`.
        places: configuration_id -> its place in the list of the document.
    """
    metric, column = measurements.metric, measurements.metric.column_at("hard")
    known = Curves(measurements.trials, measurements.history)
    of = known.of(column)
    curves: list[pd.DataFrame] = []
    lines: list[dict[str, Any]] = []
    for name in selected["configuration_id"]:
        if name not in of or (curve := of[name].dropna()).empty:
            continue
        curves.append(curve)
        lines.append(
            {
                "configuration": places[name],
                "n": int(curve["count"].max()),
                "end": known.end_of_first_stage(name),
                "epoch": curve.index.astype(int).tolist(),
            }
        )
    if not lines:
        return None
    table = pd.concat(curves)
    label = f"validation {metric.label}"
    measured = {name: of_metric(table[of], column, label, metric) for name, of in _COLUMNS.items()}
    start = 0
    for line, curve in zip(lines, curves, strict=True):
        end = start + len(curve)
        line |= {name: list(dimension.values[start:end]) for name, dimension in measured.items()}
        start = end
    return {"dimension": replace(measured["mean"], values=()).document(), "lines": lines}
