"""Tables of accuracies or other values, in the layout of the ProxConnect paper."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.columns import axis_columns
from analysis.metric import ACCURACY, Metric
from analysis.rounding import rho0_label, rho0_labels
from analysis.statistics.aggregate import WITHOUT
from analysis.tables.table import Mark, Table, axis_labels, headers_apart

_FEW_SEEDS = 3
"""Up to this number of seeds, a comparison paired by seed misses large differences."""
_MOST_METHODS = 12
"""Up to this number of methods, each has tables of its own over rho0."""
_SHOWN = ("rho0", "n", "test_mean", "test_std", "leads", "wins", "unfinished_rho0")
"""Columns of a configuration that `_pivot` writes, besides its keys and `WITHOUT`."""


def section(metric: Metric) -> str:
    """The section of a report with a value for each method: ``Accuracy``."""
    return metric.title


def section_over_rho0(metric: Metric) -> str:
    """The section of a report with values over rho0: ``Accuracy over ρ0``."""
    return f"{metric.title} over ρ0"


def sensitivity_tables(table: pd.DataFrame, metric: Metric = ACCURACY) -> list[Table]:
    """Values over rho0 for each dataset, regime and annealed method: the layout of Tables 6-11.

    Rows are models and sets, columns are rho0. The one that wins a row is bold; otherwise,
    the leaders are underlined. If there are many methods, those of a dataset and regime share a
    table, in which they are rows, too.

    Args:
        table: result of `aggregate.configurations` with `comparison.with_leaders`, and with
            values.
        metric: what the trials are compared by.
    """
    annealed = table[table["rho0"].notna()]
    own = [] if annealed["method"].nunique() > _MOST_METHODS else ["method"]
    rows = ["model", "set"] if own else ["method", "model", "set"]
    finds = ", and the verdict, which uses all ρ0 together, may find that they do"
    tables = []
    for number, (key, part) in enumerate(
        annealed.groupby(["dataset", "regime", *own], sort=False), start=1
    ):
        dataset, regime, *of = key
        note = _mark_note(part, metric, finds)
        where = ", ".join(map(str, (*of, regime, dataset)))
        caption = (
            f"Test {metric.with_unit} over ρ0: {where}. Values are means and standard deviations "
            f"over {_seeds(part)}.{note}"
        )
        headers = rho0_labels(sorted(part["rho0"]))
        body = _pivot(part, list(part["rho0"]), headers, metric, rows=rows)
        tables.append(Table(f"over_rho0_{number}", section_over_rho0(metric), caption, body, note))
    return tables


def method_tables(selected: pd.DataFrame, metric: Metric = ACCURACY) -> list[Table]:
    """The methods side by side for each dataset and regime: the layout of Tables 2-3.

    Each method has its selected rho0, which its cell states; the caption states on which images it
    was chosen. The one that wins a row is bold; otherwise, the leaders are underlined. Many methods
    are rows instead of columns, unless there are further axes.

    Args:
        selected: result of `selection.select` with `comparison.with_leaders`, and with values.
        metric: what the trials are compared by.
    """
    tables = []
    settings = selected.groupby(["dataset", "regime"], sort=False)
    for number, ((dataset, regime), part) in enumerate(settings, start=1):
        quantized = part[part["set"] != ""]
        are_rows = quantized["method"].nunique() > _MOST_METHODS and not axis_columns(part)
        rows, across = ["model", "set"], ["method"]
        if are_rows:
            rows, across = across, rows
        columns = list(quantized[across].itertuples(index=False, name=None))
        names = {column: " ".join(column) for column in columns}
        labels = headers_apart(names.values(), rows, "network" if are_rows else "method")
        headers = dict(zip(names, labels, strict=True))
        body = _pivot(quantized, columns, headers, metric, rows=rows, name_rho0=True)
        note = _mark_note(quantized, metric, of="column" if are_rows else "row")
        caption = (
            f"Test {metric.with_unit} of the methods at their best ρ0: {regime}, {dataset}. "
            f"Values are means and standard deviations over {_seeds(part)}.{choice_note(part)}"
            f"{note}{_unfinished_note(quantized)}"
        )
        usual = int(part["n"].max())
        in_full = part[part["set"] == ""]
        named = in_full["model"]
        if named.duplicated().any():  # such as networks with a teacher and without
            named = named + " " + in_full["method"]
        full = [
            f"{name} {_cell(row, usual, metric)}"
            for name, row in zip(named, in_full.to_dict("records"), strict=True)
        ]
        if full:
            caption += f" In full precision: {', '.join(full)}."
        tables.append(Table(f"methods_{number}", section(metric), caption, body, note))
    return tables


def choice_note(part: pd.DataFrame, what: str = "ρ0") -> str:
    """A sentence on the images on which something was chosen; empty if there was no choice.

    Args:
        part: rows with `chosen_on`, see `selection.select`.
        what: what was chosen.
    """
    splits = set(part["chosen_on"]) - {""} if len(part) else set()
    if not splits:
        return ""
    if splits == {"validation"}:
        return f" Each {what} was chosen on validation images."
    if splits == {"test"}:
        return f" Each {what} was chosen on the test images, which is optimistic."
    on_test = part[part["chosen_on"] == "test"]
    names = dict.fromkeys(on_test["model"] + " " + on_test["method"])
    return (
        f" Each {what} was chosen on validation images, but that of the following on the test "
        f"images, which is optimistic: {', '.join(names)}."
    )


def _unfinished_note(part: pd.DataFrame) -> str:
    if not part["unfinished_rho0"].any():
        return ""
    return " In brackets: how many other ρ0 of a method have trials that have not finished."


def _mark_note(part: pd.DataFrame, metric: Metric, verdict: str = "", of: str = "row") -> str:
    """What bold and underlined numbers are, as far as there are any.

    Args:
        part: configurations with `comparison.with_leaders`.
        metric: what they are compared by.
        verdict: a clause about the verdict, to add if few seeds make the comparison weak.
        of: where those that are compared stand, ``row`` or ``column``.
    """
    if "leads" not in part or not part["leads"].any():
        return ""
    weak = ""
    if (part["leads"] & ~part["wins"]).any() and part["n"].max() <= _FEW_SEEDS:
        weak = (
            f" With {_seeds(part)}, this comparison is weak: underlined values may still "
            f"differ{verdict}."
        )
    if not part["wins"].any():
        return (
            f" Underlined are the {metric.highest} mean of a {of} and all that do not differ "
            f"significantly from it (paired 95 % interval).{weak}"
        )
    bold = (
        f" Bold marks the {metric.highest} mean of a {of} if it differs significantly from all "
        "others (paired 95 % interval)"
    )
    if (part["leads"] & ~part["wins"]).any():
        bold += "; otherwise, it and those that do not differ from it are underlined"
    return f"{bold}.{weak}"


def _seeds(part: pd.DataFrame) -> str:
    counts = sorted({int(count) for count in part["seeds"]})
    return f"{' or '.join(map(str, counts))} seed{'s' if counts != [1] else ''}"


def _pivot(
    part: pd.DataFrame,
    columns: Sequence[Hashable],
    headers: Mapping[Any, str],
    metric: Metric,
    *,
    rows: Sequence[str],
    name_rho0: bool = False,
) -> pd.DataFrame:
    """Show the configurations of `part` in the given columns, and in rows.

    Args:
        part: configurations.
        columns: what tells the column of each.
        headers: the header of every column, in their order.
        metric: what they are compared by.
        rows: columns of `part` that, with further axes, define a row.
        name_rho0: whether cells have the rho0.
    """
    axes = axis_columns(part)
    keys = [*rows, *axes]
    usual = int(part["n"].max()) if len(part) else 0
    found: dict[tuple[Any, ...], dict[Hashable, str]] = {}
    wanted = [name for name in (*keys, *_SHOWN, *WITHOUT) if name in part]
    for cell, column in zip(part[wanted].to_dict("records"), columns, strict=True):
        text = _cell(cell, usual, metric)
        mark = _mark(cell).value
        text = f"{mark}{text}{mark}"
        if name_rho0 and not pd.isna(cell["rho0"]):
            text += f" at {rho0_label(cell['rho0'])}"
        key = tuple(cell[name] for name in keys)
        found.setdefault(key, dict.fromkeys(headers, ""))[column] = text
    labels = axis_labels(axes, [*rows, *headers.values()])
    cells = [[*key, *texts.values()] for key, texts in found.items()]
    return pd.DataFrame(cells, columns=[*rows, *labels.values(), *headers.values()])


def _mark(row: Mapping[Any, Any]) -> Mark:
    if row.get("wins", False):
        return Mark.BOLD
    return Mark.UNDERLINED if row.get("leads", False) else Mark.NONE


def _cell(row: Mapping[Any, Any], usual: int, metric: Metric) -> str:
    """``97.31 (0.21)``, followed by ``[n = 2; 1 diverged; 4 ρ0 unfinished]`` if any are missing."""
    missing = [f"{int(row[column])} {column}" for column in WITHOUT if row[column]]
    if row["n"] == 0:
        return ", ".join(missing)
    text = metric.mean_and_std(row["test_mean"], row["test_std"])
    notes = [f"n = {int(row['n'])}", ", ".join(missing)] if missing or row["n"] < usual else []
    if others := row.get("unfinished_rho0", 0):
        notes.append(f"{int(others)} ρ0 unfinished")
    return f"{text} [{'; '.join(filter(None, notes))}]" if notes else text
