"""What the papers claim, as data, and whether a sweep bears it out.

A claim is a quantity that is measured cell by cell, and the bound that it is to keep. The papers'
words are made definite here; where they give no number ("considerably", "stable"), the bound was
chosen so that their own tables keep it, and says so.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from analysis.statistics.aggregate import SETTING, axis_columns, highest
from analysis.statistics.intervals import CONFIDENCE

_ROUNDING = 1e-9

Kind = Literal["at least", "above", "at most"]


@dataclass(frozen=True)
class Measured:
    """A claim's quantity in one cell of a sweep."""

    where: str
    """Model, set and whatever else tells the cell from others."""
    value: float
    """As a fraction."""
    numbers: str
    """What it was computed from, in percent; rho0 in parentheses."""
    half_width: float
    """Of the 95 % interval of the value by the seeds (Welch's); NaN where there are too few."""


class Quantity(ABC):
    """Something to be measured in every cell of a sweep that has what it takes."""

    @abstractmethod
    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        """One measurement a cell.

        Args:
            selected: each method at its best rho0.
            table: all configurations.
        """


@dataclass(frozen=True)
class Lead(Quantity):
    """Test accuracy of the best of some methods, less that of the best of others that were run."""

    methods: tuple[str, ...]
    over: tuple[str, ...]
    regime: str | None = None
    """None for all."""
    dataset: str | None = None
    """None for all but `not_on`."""
    not_on: str = ""

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(selected, regime=self.regime, dataset=self.dataset)
        part = part[part["dataset"] != self.not_on]
        for where, cell in _cells(part, [*SETTING, "set"]):
            first = _best(cell[cell["method"].isin(self.methods)])
            second = _best(cell[cell["method"].isin(self.over)])
            missing = {*self.methods, *self.over} - set(cell["method"])
            if first is not None and second is not None:
                without = f" (without {', '.join(sorted(missing))})" if missing else ""
                yield _difference(where + without, first, second)


@dataclass(frozen=True)
class Behind(Quantity):
    """How far a method's test accuracy lies below that of the best method of the same cell."""

    method: str
    regime: str | None = None
    sets: tuple[str, ...] = ()
    """Empty for all."""

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(selected, regime=self.regime, sets=self.sets)
        for where, cell in _cells(part, [*SETTING, "set"]):
            own = _best(cell[cell["method"] == self.method])
            others = _best(cell[cell["method"] != self.method])
            if own is not None and others is not None:
                yield _difference(where, others, own)


@dataclass(frozen=True)
class RangeOverRho0(Quantity):
    """Highest less lowest test accuracy of a method over its rho0."""

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
    """Test accuracy of a method by fine-tuning, less that end to end."""

    method: str
    sets: tuple[str, ...] = ()

    def measure(self, selected: pd.DataFrame, table: pd.DataFrame) -> Iterator[Measured]:
        part = _only(selected, method=self.method, sets=self.sets)
        for where, cell in _cells(part, ["dataset", "model", "set"]):
            tuned = _best(cell[cell["regime"] == "fine-tuning"])
            untuned = _best(cell[cell["regime"] == "end-to-end"])
            if tuned is not None and untuned is not None:
                yield _difference(where, tuned, untuned)


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, and what it says of the numbers."""

    text: str
    source: str
    quantity: Quantity
    kind: Kind
    bound: float
    """As a fraction."""

    def holds(self, value: float) -> bool:
        """Whether a value keeps the bound; printed decimals are not told apart further."""
        if self.kind == "at most":
            return value <= self.bound + _ROUNDING
        if self.kind == "above":
            return value > self.bound + _ROUNDING
        return value >= self.bound - _ROUNDING


CLAIMS: Mapping[str, tuple[Claim, ...]] = {
    "proxconnect": (
        Claim(
            "(Reverse)ProxConnect, the better of the two, outperforms the others by fine-tuning",
            "section 6.1, Table 2",
            Lead(("PC", "rPC"), over=("BC", "PQ"), regime="fine-tuning", not_on="ImageNet"),
            "above",
            0.0,
        ),
        Claim(
            "ProxConnect outperforms all other methods end to end",
            "section 6.1, Table 3",
            Lead(("PC",), over=("BC", "PQ", "rPC"), regime="end-to-end", not_on="ImageNet"),
            "above",
            0.0,
        ),
        Claim(
            "PC is at least as good as BC",
            "Tables 2, 3",
            Lead(("PC",), over=("BC",), not_on="ImageNet"),
            "at least",
            0.0,
        ),
        Claim(
            "PQ collapses end to end on the ternary set: 25 points or more behind the best",
            "Table 3 (bound chosen by it)",
            Behind("PQ", regime="end-to-end", sets=("ternary",)),
            "at least",
            0.25,
        ),
        Claim(
            "BC collapses on the ternary set: 15 points or more behind the best",
            "Tables 2, 3 (bound chosen by them)",
            Behind("BC", sets=("ternary",)),
            "at least",
            0.15,
        ),
        Claim(
            "PQ is considerably worse end to end than by fine-tuning: 5 points or more",
            "section 6.1 (bound chosen by Tables 2, 3)",
            LossWithoutPretraining("PQ"),
            "at least",
            0.05,
        ),
        Claim(
            "rPC is considerably worse end to end than by fine-tuning: 5 points or more",
            "section 6.1 (bound chosen by Tables 2, 3)",
            LossWithoutPretraining("rPC"),
            "at least",
            0.05,
        ),
        Claim(
            "BC drops little without pretraining on the binary and quaternary sets: up to 3 points",
            "section 6.1 (bound chosen by Tables 2, 3)",
            LossWithoutPretraining("BC", sets=("binary", "quaternary")),
            "at most",
            0.03,
        ),
        Claim(
            "PC drops little without pretraining on the binary and quaternary sets: up to 3 points",
            "section 6.1 (bound chosen by Tables 2, 3)",
            LossWithoutPretraining("PC", sets=("binary", "quaternary")),
            "at most",
            0.03,
        ),
        Claim(
            "PC drops on the ternary set without pretraining: 5 points or more",
            "section 6.1 (bound chosen by Tables 2, 3)",
            LossWithoutPretraining("PC", sets=("ternary",)),
            "at least",
            0.05,
        ),
        Claim(
            "PC moves by at most 1.6 points over rho0 on ResNet20",
            "B.1.7, Tables 8, 11 (bound chosen by them)",
            RangeOverRho0("PC", model="ResNet20"),
            "at most",
            0.016,
        ),
        Claim(
            "PC is stable with respect to rho0: up to 2 points",
            "section 6.1, B.1.7 (bound chosen by Tables 8, 11)",
            RangeOverRho0("PC"),
            "at most",
            0.02,
        ),
        Claim(
            "PQ is very sensitive to rho0 end to end: 5 points or more",
            "B.1.7 (bound chosen by Table 9)",
            RangeOverRho0("PQ", regime="end-to-end"),
            "at least",
            0.05,
        ),
        Claim(
            "rPC is very sensitive to rho0 end to end: 5 points or more",
            "B.1.7 (bound chosen by Table 10)",
            RangeOverRho0("rPC", regime="end-to-end"),
            "at least",
            0.05,
        ),
        Claim(
            "BC is slightly better than PC by fine-tuning on ImageNet",
            "section 6.2, Table 4",
            Lead(("BC",), over=("PC",), regime="fine-tuning", dataset="ImageNet"),
            "above",
            0.0,
        ),
        Claim(
            "PC is slightly better than BC end to end on ImageNet",
            "section 6.2, Table 4",
            Lead(("PC",), over=("BC",), regime="end-to-end", dataset="ImageNet"),
            "above",
            0.0,
        ),
    ),
}
"""Paper -> its claims."""


def evaluate_claims(
    claims: Sequence[Claim], selected: pd.DataFrame, table: pd.DataFrame
) -> pd.DataFrame:
    """One row a claim: does it hold in these cells?

    Columns: claim, source, verdict ("holds", "holds in 5 of 6", "fails", "not in this sweep"),
    cells, holding, ties (differences of 0 where more is claimed), within_noise (cells whose seeds
    could turn the answer), untested (cells with too few seeds to tell), exceptions (the cells that
    do not keep it, with their numbers), numbers (all cells').

    Args:
        claims: such as ``CLAIMS["proxconnect"]``.
        selected: what `selection.select` gives.
        table: what `aggregate.configurations` gives.
    """
    return pd.DataFrame([_evaluate(claim, selected, table) for claim in claims])


def _evaluate(claim: Claim, selected: pd.DataFrame, table: pd.DataFrame) -> dict[str, Any]:
    measured = list(claim.quantity.measure(selected, table))
    exceptions = [cell for cell in measured if not claim.holds(cell.value)]
    ties = [cell for cell in exceptions if claim.kind == "above" and abs(cell.value) <= _ROUNDING]
    holding = len(measured) - len(exceptions)
    if not measured:
        verdict = "not in this sweep"
    elif not exceptions:
        verdict = "holds"
    else:
        verdict = f"holds in {holding} of {len(measured)}" if holding else "fails"
    return {
        "claim": claim.text,
        "source": claim.source,
        "verdict": verdict,
        "cells": len(measured),
        "holding": holding,
        "ties": len(ties),
        "within_noise": sum(abs(cell.value - claim.bound) < cell.half_width for cell in measured),
        "untested": sum(np.isnan(cell.half_width) for cell in measured),
        "exceptions": "; ".join(
            f"{cell.where}{' (tie)' if cell in ties else ''}: {cell.numbers}" for cell in exceptions
        ),
        "numbers": "; ".join(f"{cell.where}: {cell.numbers}" for cell in measured),
    }


def _only(frame: pd.DataFrame, sets: Sequence[str] = (), **wanted: str | None) -> pd.DataFrame:
    """Rows of quantized networks with the wanted values, case and punctuation aside."""
    frame = frame[frame["set"] != ""]
    if sets:
        frame = frame[frame["set"].isin(sets)]
    for column, value in wanted.items():
        if value is not None:
            frame = frame[_folded(frame[column]) == _folded(pd.Series([value]))[0]]
    return frame


def _folded(names: pd.Series) -> pd.Series:
    return names.str.lower().str.replace(r"[^a-z0-9]", "", regex=True)


def _cells(frame: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    axes = axis_columns(frame)
    for key, part in frame.groupby([*keys, *axes], sort=False):
        yield " ".join(filter(None, map(str, key))), part


def _best(rows: pd.DataFrame) -> pd.Series | None:
    return None if rows.empty else highest(rows)


def _difference(where: str, first: pd.Series, second: pd.Series) -> Measured:
    value = first["test_mean"] - second["test_mean"]
    numbers = [f"{_name(row)} {100 * row['test_mean']:.2f}" for row in (first, second)]
    return Measured(
        where, value, f"{' - '.join(numbers)} = {100 * value:+.2f}", _welch(first, second)
    )


def _name(row: pd.Series) -> str:
    rho0 = "" if pd.isna(row["rho0"]) else f" ({row['rho0']:g})"
    few = f" [n = {row['n']:.0f}]" if row["n"] < row["seeds"] else ""
    return f"{row['method']}{rho0}{few}"


def _welch(first: pd.Series, second: pd.Series) -> float:
    """Half the width of Welch's interval of a difference of means."""
    variances = np.array([row["test_std"] ** 2 / row["n"] for row in (first, second)])
    degrees = np.array([row["n"] - 1 for row in (first, second)])
    if not (degrees > 0).all() or np.isnan(variances).any():
        return float("nan")
    if variances.sum() == 0:
        return 0.0
    effective = variances.sum() ** 2 / (variances**2 / degrees).sum()
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, effective) * np.sqrt(variances.sum()))
