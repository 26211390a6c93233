"""Verdicts on whole methods, with the numbers behind them in a sentence."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.columns import AXIS_PREFIX
from analysis.metric import ACCURACY, Metric
from analysis.statistics.aggregate import OPEN, SETTING, place_of_highest, places_by
from analysis.statistics.verdicts import FAILS, MARGIN, NO_RHO0, VERDICTS, is_chance

Rows = Sequence[Mapping[Any, Any]]
"""Rows of a table, which are few for each method."""

_NAMED = 4
"""Sets up to this number are named one by one; of more, the sentences have a summary."""

_COLUMNS = (
    *SETTING,
    "method",
    "verdict",
    "sets",
    "choices",
    "lowest_rho0",
    "highest_rho0",
    "decades",
    "least_decades",
    "range",
    "at",
    "equal_span_decades",
    "equal_span_range",
    "reason",
)


def method_verdicts(
    found: pd.DataFrame,
    metric: Metric = ACCURACY,
    *,
    table: pd.DataFrame | None = None,
    margin: float = MARGIN,
    knob: str = "ρ0",
) -> pd.DataFrame:
    """The verdict on each method, which is that of its worst set in the order of `VERDICTS`.

    Args:
        found: result of `sensitivity.sensitivity` with values, as `metric.Metric.measured` returns.
        metric: what the trials are compared by.
        table: result of `aggregate.configurations` with values. Its methods without rho0, or with
            one only, have a row, too, in the settings in which other methods have several.
        margin: see `metric.Metric.margin`.
        knob: what the sentences call the knob whose sensitivity it is.

    Returns:
        One row per method and setting, with the columns
            dataset, model, regime, method.
            verdict: a key of `VERDICTS`, or `NO_RHO0`. A method that fails on some sets only, and
                is not sensitive on another, has the verdict ``fails on <sets>``.
            sets: the verdict on each set.
            choices: how many rho0 have a finished trial, such as ``2 of 3``.
            lowest_rho0, highest_rho0: ends of the grid of finished trials.
            decades, least_decades: decades that the finished rho0 span on the set with the widest
                grid and on that with the narrowest, which is 0 for a set without a finished trial.
            range: largest range of the mean test value over rho0.
            at: set, and values of further axes, of the largest range.
            equal_span_decades, equal_span_range: largest range over an equal number of decades, see
                `sensitivity.sensitivity`.
            reason: the numbers behind the verdict, in a sentence.
    """
    records = found.to_dict("records")
    rows = [
        _with_rho0(key, [records[place] for place in places], metric, knob)
        for key, places in places_by(found, [*SETTING, "method"])
    ]
    if table is not None and len(found):
        rows += _without_choice(table, found, metric, margin)
        order = list(table[[*SETTING, "method"]].itertuples(index=False, name=None))
        places = {key: place for place, key in reversed(list(enumerate(order)))}
        rows.sort(key=lambda row: places[tuple(row[key] for key in (*SETTING, "method"))])
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _with_rho0(key: Sequence[Hashable], part: Rows, metric: Metric, knob: str) -> dict[Any, Any]:
    widest = _widest(part)
    where = _name(widest)
    failing = [row for row in part if row["verdict"] == FAILS]
    verdict = min((row["verdict"] for row in part), key=list(VERDICTS).index)
    if verdict == FAILS and len(failing) < len(part):
        verdict += f" on {_named(failing)}"
    return {
        **dict(zip([*SETTING, "method"], key, strict=True)),
        "verdict": verdict,
        "sets": _by_set(part),
        "choices": f"{_span(part, 'choices')} of {_span(part, 'grid')}",
        "lowest_rho0": _least(row["lowest_rho0"] for row in part),
        "highest_rho0": _most(row["highest_rho0"] for row in part),
        "decades": _most(row["decades"] for row in part),
        "least_decades": _least(0.0 if _is_awaited(row) else row["decades"] for row in part),
        "range": widest["range"],
        "at": where,
        "equal_span_decades": widest["equal_span_decades"],
        "equal_span_range": _most(row["equal_span_range"] for row in part),
        "reason": _failure(part, metric, knob)
        if verdict == FAILS
        else _range(part, where, metric, knob),
    }


def _widest(part: Rows) -> Mapping[Any, Any]:
    """The row with the largest range, or the first of several."""
    return part[place_of_highest([row["range"] for row in part])]


def _least(values: Iterable[float]) -> float:
    """The smallest of the values that are not missing; NaN if all are."""
    return float(np.fmin.reduce(list(values)))


def _most(values: Iterable[float]) -> float:
    """The largest of the values that are not missing; NaN if all are."""
    return float(np.fmax.reduce(list(values)))


def _is_awaited(row: Mapping[Any, Any]) -> bool:
    """Whether a set has no finished trial yet; trials that all diverged are a result."""
    return bool(row["choices"] == 0 and row["missing"] > 0)


def _failure(part: Rows, metric: Metric, knob: str) -> str:
    """A sentence on a method of which no rho0 works on any set."""
    best = part[place_of_highest([metric.sign * row["best"] for row in part])]
    if np.isnan(best["best"]):
        return f"No {knob} that was tried works: all trials diverged."
    value, guess = (metric.shown(best[name], fewer=1) for name in ("best", "chance"))
    return (
        f"No {knob} that was tried works: the {metric.highest} mean test {metric.label} is "
        f"{value}, and guessing gives {guess}."
    )


def _range(part: Rows, where: str, metric: Metric, knob: str) -> str:
    """A sentence on the largest range over rho0, and on trials that ended early."""
    widest = _widest(part)
    ends = _ended(part)
    if widest["choices"] < 2:
        return f"{_joined([f'Fewer than two {knob} have a finished trial', *ends])}."
    upper = widest["range_upper"]
    limit = "" if np.isnan(upper) else f" (at most {metric.text(upper, fewer=1)} at 95 %)"
    change = (
        f"Test {metric.label} changes by up to "
        f"{metric.shown_difference(widest['range'], fewer=1)}{limit} over {knob}"
        f"{f' on {where}' if where else ''}"
    )
    return f"{_joined([change, *ends])}."


def _ended(part: Rows) -> list[str]:
    """How many trials diverged, collapsed, have not finished, or are not there at all."""
    names = ("diverged", "collapsed", "missing", "absent")
    counts = {name: sum(row[name] for row in part if not np.isnan(row[name])) for name in names}
    ends = {
        ("diverged", "diverged"): counts["diverged"],
        ("collapsed", "collapsed"): counts["collapsed"],
        ("has not finished", "have not finished"): counts["missing"] - counts["absent"],
        ("is absent", "are absent"): counts["absent"],
    }
    return [
        f"{count:.0f} trial {one}" if count == 1 else f"{count:.0f} trials {several}"
        for (one, several), count in ends.items()
        if count
    ]


def _joined(parts: Sequence[str]) -> str:
    """Parts of a sentence as a list with commas: ``a``, ``a, and b`` or ``a, b, and c``."""
    *others, last = parts
    return f"{', '.join(others)}, and {last}" if others else last


def _span(part: Rows, column: str) -> str:
    counts = [int(row[column]) for row in part]
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def _by_set(part: Rows) -> str:
    """The verdict on each set, from the worst: ``sensitive: binary; stable: ternary``."""
    return "; ".join(
        f"{verdict}: {_named(having)}"
        for verdict in [*VERDICTS, NO_RHO0]
        if (having := [row for row in part if row["verdict"] == verdict])
    )


def _named(part: Rows) -> str:
    """The sets of some rows, with the values of further axes; how many if they are many."""
    if len(part) > _NAMED:
        return f"{len(part)} settings"
    return ", ".join(map(_name, part))


def _name(row: Mapping[Any, Any]) -> str:
    axes = [
        f"{str(name).removeprefix(AXIS_PREFIX)}={value}"
        for name, value in row.items()
        if str(name).startswith(AXIS_PREFIX) and value
    ]
    return ", ".join(filter(None, [row["set"], *axes]))


def _without_choice(
    table: pd.DataFrame, found: pd.DataFrame, metric: Metric, margin: float
) -> list[dict[Any, Any]]:
    """The rows of the quantized methods that have no rho0, or one only."""
    settings = set(found[[*SETTING]].itertuples(index=False, name=None))
    have_range = set(found[[*SETTING, "method"]].itertuples(index=False, name=None))
    rows = []
    quantized = table[table["set"] != ""]
    for key, places in places_by(quantized, [*SETTING, "method"]):
        part = quantized.iloc[places]
        is_open = part[list(OPEN)].any(axis=1)
        is_whole = not is_open.any()
        part = part[(part["n"] > 0) | ~is_open]  # trials that all diverged are a result
        if key[:-1] not in settings or key in have_range or part.empty:
            continue
        # Distances are those of scores, of which higher ones are better.
        scores, guesses = metric.sign * part["test_mean"], _guesses(part, metric)
        fails = [
            not waits and (np.isnan(score) or is_chance(score, guess, metric.margin(margin, score)))
            for score, guess, waits in zip(scores, guesses, is_open[part.index], strict=True)
        ]
        has_rho0 = bool(part["rho0"].notna().any())
        usual = "untested" if has_rho0 else NO_RHO0
        part = part.assign(verdict=np.where(fails, FAILS, usual))
        finished = part[part["n"] > 0]
        row = {
            **dict.fromkeys(_COLUMNS, np.nan),
            **dict(zip([*SETTING, "method"], key, strict=True)),
            "verdict": FAILS if all(fails) and is_whole else usual,
            "sets": _by_set(part.to_dict("records")) if any(fails) or has_rho0 else "",
            "choices": "",
            "at": "",
            "reason": f"There is no ρ0 to tune; {_levels(part, metric)}.",
        }
        if has_rho0:
            row |= {
                "choices": f"{int(len(finished) > 0)} of 1",
                "lowest_rho0": finished["rho0"].min(),
                "highest_rho0": finished["rho0"].max(),
                **dict.fromkeys(("decades", "least_decades", "equal_span_decades"), 0.0),
                "reason": f"Only one ρ0 was tried; {_levels(part, metric)}.",
            }
        rows.append(row)
    return rows


def _guesses(part: pd.DataFrame, metric: Metric) -> pd.Series:
    """Scores of guessing, from a table with values."""
    guesses = metric.values_of_guessing(part)
    return pd.Series(np.nan, index=part.index) if guesses is None else metric.sign * guesses


def _levels(part: pd.DataFrame, metric: Metric) -> str:
    """The test values of a method on its sets, in a clause."""
    diverged, part = part[part["n"] == 0], part[part["n"] > 0]
    if len(diverged):
        on = f" on {_named(diverged.to_dict('records'))}; {_levels(part, metric)}"
        return f"all trials diverged{on if len(part) else ''}"
    if len(part) <= _NAMED:
        texts = [
            f"{metric.shown(row['test_mean'], fewer=1)} ({_name(row)})"
            for row in part.to_dict("records")
        ]
        return f"test {metric.label} is {', '.join(texts)}"
    low, high = part["test_mean"].min(), part["test_mean"].max()
    return (
        f"test {metric.label} is {metric.text(low, fewer=1)} to {metric.shown(high, fewer=1)} in "
        f"{len(part)} settings"
    )
