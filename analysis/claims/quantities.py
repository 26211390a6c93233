"""Quantities of a claim: differences of test accuracies, measured in each cell of a sweep.

A cell is a quantization set in a setting (dataset, model and regime), or whatever else the quantity
compares across.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from analysis.columns import axis_columns
from analysis.rounding import points, rho0_label
from analysis.statistics.aggregate import SETTING, highest
from analysis.statistics.intervals import CONFIDENCE
from analysis.text import folded


@dataclass(frozen=True)
class Measured:
    """The value of a quantity in one cell."""

    where: str
    """Name of the cell: setting, set, and the values of further axes."""
    value: float
    """Difference of test accuracies, as a fraction."""
    numbers: str
    """The calculation in percent, with each rho0 in parentheses."""
    half_width: float
    """Half the width of the value's 95 % interval (Welch), a fraction; NaN with too few seeds."""


class Quantity(ABC):
    """A difference of test accuracies that can be measured in the cells of a sweep."""

    @abstractmethod
    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        """Measure the quantity in every cell that has the trials for it.

        Args:
            selected: each method at its selected rho0, the result of `selection.select`.
            table: all configurations, the result of `aggregate.configurations`.
        """


@dataclass(frozen=True)
class Lead(Quantity):
    """Best test accuracy of some methods minus the best of others, among those that were run."""

    methods: tuple[str, ...]
    over: tuple[str, ...]
    regime: str | None = None
    """None measures in all regimes."""
    dataset: str | None = None
    """None measures on all datasets except `not_on`."""
    not_on: str = ""
    model: str | None = None
    sets: tuple[str, ...] = ()
    """Quantization sets to measure on; empty for all."""

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(
            selected, self.sets, regime=self.regime, dataset=self.dataset, model=self.model
        )
        if self.not_on:
            part = part[part["dataset"].map(folded) != folded(self.not_on)]
        for where, cell in _cells(part, [*SETTING, "set"]):
            first = _best(cell[cell["method"].isin(self.methods)])
            second = _best(cell[cell["method"].isin(self.over)])
            missing = {*self.methods, *self.over} - set(cell["method"])
            if first is not None and second is not None:
                without = f" (without {', '.join(sorted(missing))})" if missing else ""
                yield _difference(where + without, first, second)


@dataclass(frozen=True)
class Behind(Quantity):
    """Test accuracy of the best other method minus that of one method."""

    method: str
    regime: str | None = None
    sets: tuple[str, ...] = ()
    """Quantization sets to measure on; empty for all."""

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(selected, regime=self.regime, sets=self.sets)
        for where, cell in _cells(part, [*SETTING, "set"]):
            own = _best(cell[cell["method"] == self.method])
            others = _best(cell[cell["method"] != self.method])
            if own is not None and others is not None:
                yield _difference(where, others, own)


@dataclass(frozen=True)
class RangeOverRho0(Quantity):
    """Highest minus lowest mean test accuracy of a method over its rho0."""

    method: str
    regime: str | None = None
    model: str | None = None

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(table, method=self.method, regime=self.regime, model=self.model)
        part = part[(part["n"] > 0) & part["rho0"].notna()]
        for where, cell in _cells(part, [*SETTING, "set"]):
            if cell["rho0"].nunique() > 1:
                worst = cell.iloc[int(cell["test_mean"].to_numpy().argmin())]
                yield _difference(where, highest(cell), worst)


@dataclass(frozen=True)
class LossWithoutPretraining(Quantity):
    """Test accuracy of a method by fine-tuning minus its test accuracy end to end."""

    method: str
    sets: tuple[str, ...] = ()
    """Quantization sets to measure on; empty for all."""

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(selected, method=self.method, sets=self.sets)
        for where, cell in _cells(part, ["dataset", "model", "set"]):
            tuned = _best(cell[cell["regime"] == "fine-tuning"])
            untuned = _best(cell[cell["regime"] == "end-to-end"])
            if tuned is not None and untuned is not None:
                yield _difference(where, tuned, untuned)


@dataclass(frozen=True)
class LossOfQuantization(Quantity):
    """Test accuracy in full precision minus that of a method, for a dataset and model."""

    method: str
    dataset: str | None = None
    regime: str | None = None

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(selected, method=self.method, dataset=self.dataset, regime=self.regime)
        full = selected[selected["set"] == ""]
        for where, cell in _cells(part, [*SETTING, "set"]):
            of_network = (full[["dataset", "model"]] == cell[["dataset", "model"]].iloc[0]).all(
                axis=1
            )
            whole, own = _best(full[of_network]), _best(cell)
            if whole is not None and own is not None:
                yield _difference(where, whole, own)


@dataclass(frozen=True)
class GainOfSet(Quantity):
    """Test accuracy of a method on one quantization set minus that on another."""

    method: str
    larger: str
    smaller: str

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        for where, cell in _cells(_only(selected, method=self.method), [*SETTING]):
            own, other = (_best(cell[cell["set"] == name]) for name in (self.larger, self.smaller))
            if own is not None and other is not None:
                yield _difference(f"{where} {self.larger} - {self.smaller}", own, other)


def _only(frame: pd.DataFrame, sets: Sequence[str] = (), **wanted: str | None) -> pd.DataFrame:
    """Rows of quantized networks with the wanted values.

    Names are compared in their folded form, except those of methods: PQ* is not PQ.
    """
    frame = frame[frame["set"] != ""]
    if sets:
        frame = frame[frame["set"].isin(sets)]
    for column, value in wanted.items():
        if value is not None and column == "method":
            frame = frame[frame["method"] == value]
        elif value is not None:
            frame = frame[frame[column].map(folded) == folded(value)]
    return frame


def _cells(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    axes = axis_columns(frame)
    for key, part in frame.groupby([*keys, *axes], sort=False):
        yield " ".join(filter(None, map(str, key))), part


def _best(rows: pd.DataFrame) -> pd.Series | None:
    return None if rows.empty else highest(rows)


def _difference(where: str, first: pd.Series, second: pd.Series) -> Measured:
    value = first["test_mean"] - second["test_mean"]
    numbers = [f"{_name(row)} {points(row['test_mean'])}" for row in (first, second)]
    calculation = f"{' - '.join(numbers)} = {points(value, sign=True)}"
    return Measured(where, value, calculation, _welch(first, second))


def _name(row: pd.Series) -> str:
    rho0 = "" if pd.isna(row["rho0"]) else f" ({rho0_label(row['rho0'])})"
    few = f" [n = {row['n']:.0f}]" if row["n"] < row["seeds"] else ""
    return f"{row['method']}{rho0}{few}"


def _welch(first: pd.Series, second: pd.Series) -> float:
    """Half the width of Welch's interval of a difference of two means."""
    variances = np.array([row["test_std"] ** 2 / row["n"] for row in (first, second)])
    degrees = np.array([row["n"] - 1 for row in (first, second)])
    if not (degrees > 0).all() or np.isnan(variances).any():
        return float("nan")
    if variances.sum() == 0:
        return 0.0
    effective = variances.sum() ** 2 / (variances**2 / degrees).sum()
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, effective) * np.sqrt(variances.sum()))
