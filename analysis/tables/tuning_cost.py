"""The table of what tuning costs: methods side by side for each number of tries."""

from collections.abc import Hashable
from typing import Any

import pandas as pd

from analysis.columns import axis_columns
from analysis.findings import Findings
from analysis.metric import Metric
from analysis.tables.table import Mark, Table, axis_labels, headers_apart

TUNING = "What tuning costs"
"""Section of a report."""


def tuning_table(findings: Findings) -> Table:
    """The methods side by side if each may try 1, 3, 10 or all of its configurations.

    Args:
        findings: result of `findings.analyse`.
    """
    found, metric = findings.tuning_budgets, findings.metric
    if found.empty:
        return Table("tuning_cost", TUNING, "", pd.DataFrame())
    axes = axis_columns(found)
    keys = ["dataset", "model", "regime", "set", *axes]
    constant = [key for key in ("dataset", "regime") if found[key].nunique() == 1]
    shown = [key for key in keys if key not in constant]
    methods = list(dict.fromkeys(found["method"]))
    rows: dict[tuple[Hashable, ...], dict[str, str]] = {}
    columns = [*shown, "budget", "method", "test_mean", "high", "leads", "wins"]
    for row in found[columns].to_dict("records"):
        key = tuple(row[name] for name in [*shown, "budget"])
        texts = rows.setdefault(key, dict.fromkeys(methods, ""))
        texts[str(row["method"])] = _cell(row, metric)
    first = [*(key for key in shown if key not in axes), "tries"]
    names = headers_apart(methods, first, "method")
    labels = axis_labels(axes, [*first, *names])
    body = pd.DataFrame(
        [[*key, *texts.values()] for key, texts in rows.items()],
        columns=[*(labels.get(key, key) for key in shown), "tries", *names],
    )
    where = "".join(f" {key.capitalize()}: {found[key].iloc[0]}." for key in constant)
    return Table("tuning_cost", TUNING, _caption(found, findings) + where, body)


def _cell(row: dict[Any, Any], metric: Metric) -> str:
    """``94.21 ± 0.80``, with the mark of the number and half the width of its interval."""
    if pd.isna(row["test_mean"]):
        return ""
    mark = (Mark.BOLD if row["wins"] else Mark.UNDERLINED if row["leads"] else Mark.NONE).value
    half = abs(row["high"] - row["test_mean"])
    error = "" if pd.isna(half) else f" ± {metric.text(half)}"
    return f"{mark}{metric.text(row['test_mean'])}{mark}{error}"


def _caption(found: pd.DataFrame, findings: Findings) -> str:
    metric = findings.metric
    caption = (
        f"Expected test {metric.with_unit} of a method of which so many configurations are tried. "
        "They are drawn at random from the grid, and the best is chosen by the mean "
        f"{_splits(found)} {metric.label} of its seeds; the area is the mean over 1 to all tries. "
        f"Intervals are 95 % over seeds (Student's t). {_sizes(found)}"
    )
    if found["leads"].any():
        caption += (
            f" Bold is the {metric.highest} value of a row if it differs significantly from all "
            "others (paired by seed); otherwise, it and those that do not differ are underlined."
        )
    if found["unfinished"].any():
        caption += " Configurations that have not finished are left out."
    return caption


def _splits(found: pd.DataFrame) -> str:
    return " or ".join(sorted(set(found["chosen_on"]) - {""}, reverse=True))


def _sizes(found: pd.DataFrame) -> str:
    """How many configurations each method has: ``Configurations: 1 of BC, 6 of PC and PQ.``."""
    sizes: dict[str, list[str]] = {}
    for method, own in found.groupby("method", sort=False)["configurations"]:
        ends = dict.fromkeys((int(own.min()), int(own.max())))
        sizes.setdefault(" to ".join(map(str, ends)), []).append(str(method))
    return f"Configurations: {', '.join(f'{size} of {_names(of)}' for size, of in sizes.items())}."


def _names(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
