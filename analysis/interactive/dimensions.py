"""The dimensions of trials: settings and results that a reader can put on an axis of a chart."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.columns import AXIS_PREFIX, axis_columns
from analysis.knobs.knob import knob_column, knob_of
from analysis.metric import Metric
from analysis.schema import Measurements
from analysis.statistics.aggregate import SETTING
from analysis.tables.table import axis_labels

_DIGITS = 6
"""Significant digits of a number in a chart that is not whole."""
_WIDE = 10.0
"""If the largest number is at least this many times the smallest, the axis is logarithmic."""
_RESULTS = {
    "file_bytes": "bytes of the file",
    "network_bits": "bits of a number",
    "seconds": "training time (s)",
}


@dataclass(frozen=True)
class Dimension:
    """One column of the trials."""

    key: str
    """Column of the table of trials."""
    label: str
    """Its heading."""
    role: str
    """``setting``, ``method``, ``set``, ``knob``, ``seed``, ``state`` or ``result``; ``method`` is
    what the colours tell."""
    values: tuple[float | int | None, ...]
    """A value for each trial: a number, or the place of its name; None if it is missing."""
    names: tuple[str, ...] | None = None
    """The names of a dimension that has no numbers, in order of appearance."""
    is_log: bool = False
    """Whether the axis is logarithmic."""
    unit: str = ""
    digits: int | None = None
    """Decimals; None for as many as the number needs."""

    def document(self) -> dict[str, Any]:
        """The dimension as JSON."""
        return {
            "key": self.key,
            "label": self.label,
            "role": self.role,
            "values": list(self.values),
            "names": None if self.names is None else list(self.names),
            "isLog": self.is_log,
            "unit": self.unit,
            "digits": self.digits,
        }


def dimensions(measurements: Measurements) -> Iterator[Dimension]:
    """The dimensions in which trials differ, and the method; settings come before results.

    Args:
        measurements: the trials, and their metrics.
    """
    trials = measurements.trials
    for key in ("sweep", *SETTING):
        if key in trials and trials[key].nunique() > 1:
            yield named(trials, key, key, "setting")
    if (trials["set"] != "").any():
        yield named(trials, "set", "set", "set")
    yield named(trials, "method", "method", "method")
    if trials["rho0"].nunique() > 0:
        yield numbered("rho0", "ρ0", "knob", trials["rho0"])
    measured = list(_measured(measurements))
    others = ["sweep", *SETTING, "method", "set", "ρ0", "seed", "state", *_RESULTS.values()]
    others += [one.label for one in measured]
    for column, label in axis_labels(axis_columns(trials), others).items():
        texts = trials[column].replace("", None)
        numbers = pd.to_numeric(texts, errors="coerce")
        if trials[column].nunique(dropna=False) < 2:
            continue
        scale = _scale_of(trials, column.removeprefix(AXIS_PREFIX))
        if scale != "nominal" and numbers.notna().sum() == texts.notna().sum():
            yield numbered(column, label, "knob", numbers, scale)
        else:
            yield named(trials, column, label, "knob")
    if trials["seed"].nunique() > 1:
        yield numbered("seed", "seed", "seed", trials["seed"])
    if trials["state"].nunique() > 1:
        yield named(trials, "state", "state", "state")
    yield from measured
    for column, label in _RESULTS.items():
        if column in trials and trials[column].nunique() > 1:
            yield numbered(column, label, "result", trials[column])


def _measured(measurements: Measurements) -> Iterator[Dimension]:
    """The values of each metric, in the unit in which they are printed; the test value is first."""
    trials = measurements.trials
    for metric in (measurements.metric, *measurements.further):
        for split in ("test", "validation"):
            column = metric.column(split)
            if column in trials and trials[column].notna().any():
                yield of_metric(trials[column], column, f"{split} {metric.label}", metric)


def of_metric(values: pd.Series, column: str, label: str, metric: Metric) -> Dimension:
    """A dimension of a metric's values, in the unit in which they are printed.

    Args:
        values: a value for each trial.
        column: its column.
        label: its heading.
        metric: what the values are of.
    """
    metric = metric.with_digits(values)
    return Dimension(
        column,
        label,
        "result",
        _rounded(metric.factor * values),
        unit=metric.unit,
        digits=metric.digits,
    )


def named(trials: pd.DataFrame, key: str, label: str, role: str) -> Dimension:
    """A dimension of names; an empty one is missing.

    Args:
        trials: has the column `key`.
        key: its column.
        label: its heading.
        role: see `Dimension`.
    """
    codes, names = pd.factorize(trials[key].replace("", None))
    values = tuple(int(code) if code >= 0 else None for code in codes)
    return Dimension(key, label, role, values, tuple(map(str, names)))


def _scale_of(trials: pd.DataFrame, name: str) -> str:
    """The scale of an axis that is a knob of some method; empty for other axes."""
    column = knob_column(name)
    cells = trials[column].dropna() if column in trials else ()
    knobs = (knob_of(name, str(cell)) for cell in dict.fromkeys(cells))
    return next((knob.scale for knob in knobs if knob is not None), "")


def numbered(key: str, label: str, role: str, values: pd.Series, scale: str = "") -> Dimension:
    """A dimension of numbers.

    Args:
        key: its column.
        label: its heading.
        role: see `Dimension`.
        values: a number for each trial.
        scale: that of a knob; empty if the numbers decide whether the axis is logarithmic.
    """
    finite = values[values.notna()].astype(float)
    positive = finite[finite > 0]
    is_log = bool(
        role in ("knob", "result")
        and scale != "linear"
        and not (finite < 0).any()
        and len(positive) > 0
        and (scale == "log" or positive.max() >= _WIDE * positive.min())
    )
    return Dimension(key, label, role, _rounded(values), is_log=is_log)


def _rounded(values: pd.Series) -> tuple[float | int | None, ...]:
    """Whole numbers as they are, such as seeds, and others with `_DIGITS` significant digits."""
    return tuple(
        None if math.isnan(value) or math.isinf(value) else _short(value)
        for value in values.astype(float)
    )


def _short(value: float) -> float | int:
    short = value if value.is_integer() else float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short
