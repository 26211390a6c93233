"""Claims: a measured quantity with a bound, and whether it holds in a sweep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from analysis.claims.quantities import Quantity

_ROUNDING = 1e-9

Kind = Literal["at least", "above", "at most"]


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, as a bound on a quantity.

    The claim holds in a cell if the quantity is at least, above, or at most the bound there.
    """

    text: str
    """The sentence, with the bound in words."""
    source: str
    """Section or table of the paper; also whether the bound was chosen from its tables."""
    quantity: Quantity
    kind: Kind
    bound: float
    """Difference of accuracies, as a fraction."""

    def holds(self, value: float) -> bool:
        """Whether a value keeps the bound, up to 1e-9 for floating-point rounding."""
        if self.kind == "at most":
            return value <= self.bound + _ROUNDING
        if self.kind == "above":
            return value > self.bound + _ROUNDING
        return value >= self.bound - _ROUNDING


def evaluate_claims(
    claims: Sequence[Claim], selected: pd.DataFrame, table: pd.DataFrame
) -> pd.DataFrame:
    """Evaluate each claim in every cell of a sweep that it applies to.

    Args:
        claims: such as ``CLAIMS["proxconnect"]``.
        selected: result of `selection.select`.
        table: result of `aggregate.configurations`.

    Returns:
        One row per claim, with the columns
            claim, source: see `Claim`.
            verdict: "holds", "holds in 5 of 6", "fails" or "not in this sweep".
            cells: number of cells that the claim applies to.
            holding: number of cells in which it holds.
            ties: number of cells with a difference of 0 although the claim asks for more.
            within_noise: number of cells whose 95 % interval (Welch) contains the bound.
            untested: number of cells with too few seeds for an interval.
            exceptions: the cells in which the claim fails, with their numbers.
            numbers: all cells with their numbers.
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
