"""Configurations -> tables for people, in the layout of the ProxConnect paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.aggregate import best_rho0
from analysis.schema import AXIS_PREFIX


@dataclass(frozen=True)
class Table:
    """A table of finished text."""

    caption: str
    body: pd.DataFrame
    """Columns of strings; the best cell of a row stands in ``**``."""

    def markdown(self) -> str:
        """The caption and a pipe table."""
        return f"**{self.caption}**\n\n{self.body.to_markdown(index=False)}\n"


def sensitivity_tables(table: pd.DataFrame) -> list[Table]:
    """For each regime and annealed method, accuracy over rho0: the layout of Tables 6-11.

    A row is a model and a set, a column a rho0; the highest mean test accuracy of a row is bold.

    Args:
        table: what `aggregate.configurations` gives.
    """
    annealed = table[table["rho0"].notna()]
    return [
        Table(
            f"Test accuracy in % over ρ0: {method}, {regime}, {dataset}. Mean (standard deviation) "
            f"over {_seeds(part)}; bold: the highest mean of a row",
            _pivot(part, [_rho0_label(value) for value in part["rho0"]], bold=True),
        )
        for (dataset, regime, method), part in annealed.groupby(
            ["dataset", "regime", "method"], sort=False
        )
    ]


def method_tables(table: pd.DataFrame) -> list[Table]:
    """For each regime, the methods side by side, each at its best rho0: the layout of Tables 2-3.

    rho0 is chosen by validation accuracy and stands in the cell; where no validation images were
    held out it is chosen by test accuracy, and the caption says so. A row's highest mean test
    accuracy among quantized networks is bold.

    Args:
        table: what `aggregate.configurations` gives.
    """
    tables = []
    finished = table[table["n"] > 0]
    for (dataset, regime), group in finished.groupby(["dataset", "regime"], sort=False):
        held_out = bool(group["validation_mean"].notna().all())
        part = best_rho0(group, "validation" if held_out else "test")
        quantized = part[part["set"] != ""]
        body = _pivot(quantized, list(quantized["method"]), bold=True, name_rho0=True)
        caption = (
            f"Test accuracy in %: methods at their best ρ0, {regime}, {dataset}. Mean (standard "
            f"deviation) over {_seeds(part)}; ρ0 chosen on "
            + ("validation images" if held_out else "test images (optimistic: none were held out)")
        )
        full = [f"{row['model']} {_cell(row)}" for _, row in part[part["set"] == ""].iterrows()]
        if full:
            caption += f"; full precision: {', '.join(full)}"
        tables.append(Table(caption, body))
    return tables


def _seeds(part: pd.DataFrame) -> str:
    counts = sorted({int(count) for count in part["seeds"]})
    return f"{' or '.join(map(str, counts))} seed{'s' if counts != [1] else ''}"


def _pivot(
    part: pd.DataFrame, columns: Sequence[str], *, bold: bool, name_rho0: bool = False
) -> pd.DataFrame:
    """Rows (model, set, further axes) against the given column labels."""
    axes = [str(column) for column in part.columns if str(column).startswith(AXIS_PREFIX)]
    keys = ["model", "set", *axes]
    cells = part.assign(column=columns)
    order = list(dict.fromkeys(columns))
    rows = []
    for key, row in cells.groupby(keys, sort=False, dropna=False):
        best = row["test_mean"].max()
        texts = dict.fromkeys(order, "")
        for _, cell in row.iterrows():
            text = _cell(cell)
            if bold and cell["n"] > 0 and cell["test_mean"] == best:
                text = f"**{text}**"
            if name_rho0 and not pd.isna(cell["rho0"]):
                text += f" at {_rho0_label(cell['rho0'])}"
            texts[cell["column"]] = text
        rows.append({**dict(zip(keys, key, strict=True)), **texts})
    body = pd.DataFrame(rows, columns=[*keys, *order])
    return body.rename(columns={axis: axis.removeprefix(AXIS_PREFIX) for axis in axes})


def _cell(row: pd.Series) -> str:
    """``97.31 (0.21)``, and in words whatever is not complete."""
    missing = [
        f"{int(row[column])} {column}"
        for column in ("diverged", "failed", "unfinished")
        if row[column]
    ]
    if row["n"] == 0:
        return ", ".join(missing)
    std = "" if pd.isna(row["test_std"]) else f" ({100 * row['test_std']:.2f})"
    text = f"{100 * row['test_mean']:.2f}{std}"
    return f"{text} [n = {int(row['n'])}; {', '.join(missing)}]" if missing else text


def _rho0_label(value: float) -> str:
    """``5e-3``, as the papers print it; ``0.12``, ``2`` where that is as short."""
    if value == 0 or 0.1 <= value < 1000:
        return f"{value:g}"
    mantissa, exponent = f"{value:.6e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"
