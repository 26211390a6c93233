"""The knobs that a table of trials names, and the values that its trials have of them."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import AXIS_PREFIX
from analysis.knobs.knob import KNOB_PREFIX, RHO0, Knob, knob_of, number_of


def column_of(knob: Knob) -> str:
    """The column of a table of trials that has the values of a knob: numbers, or text of an axis.

    Args:
        knob: one with a name.
    """
    return RHO0.name if knob.name == RHO0.name else f"{AXIS_PREFIX}{knob.name}"


def knob_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that say which axes are knobs, in the table's order."""
    return [str(column) for column in frame.columns if str(column).startswith(KNOB_PREFIX)]


def knobs_of(trials: pd.DataFrame) -> tuple[Knob, ...]:
    """The knobs of some trials, such as those of one method: rho0 first, then those of the table.

    A knob has the widest range that its trials name.

    Args:
        trials: checked columns of `columns.trials_columns`, or some rows of them.
    """
    found = [] if trials["rho0"].isna().all() else [RHO0]
    for column in knob_columns(trials):
        name = column.removeprefix(KNOB_PREFIX)
        texts = [text for text in dict.fromkeys(trials[column]) if text]
        knobs = [knob for text in texts if (knob := knob_of(name, text)) is not None]
        if knobs and (name != RHO0.name or found):
            found = [knob for knob in found if knob.name != name] + [_widest(knobs)]
    return tuple(sorted(found, key=lambda knob: knob.name != RHO0.name))


def _widest(knobs: list[Knob]) -> Knob:
    lows, highs = [knob.low for knob in knobs], [knob.high for knob in knobs]
    low = min((end for end in lows if end is not None), default=None)
    high = max((end for end in highs if end is not None), default=None)
    return replace(knobs[0], low=low, high=high)


def values_of(trials: pd.DataFrame, knob: Knob) -> NDArray[np.float64]:
    """The value of a knob of each trial; of a nominal one, the place of its label in the table.

    Args:
        trials: checked columns of `columns.trials_columns`, or a table of their configurations.
        knob: one of `knobs_of`.

    Returns:
        (rows,), NaN for trials that do not have the knob.
    """
    values = trials[column_of(knob)]
    if knob.scale == "nominal":
        places = {
            label: float(place) for place, label in enumerate(dict.fromkeys(values[values != ""]))
        }
        return values.map(places).to_numpy(float)
    if knob.name == RHO0.name:
        return values.to_numpy(float)
    numbers = {label: number_of(label) for label in set(values)}
    return values.map(numbers).to_numpy(float)


def _with_axis(frame: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Names of the knobs whose values are on an axis, the knobs' columns, and those of the values.

    The knob rho0 has no axis.
    """
    for column in knob_columns(frame):
        name = column.removeprefix(KNOB_PREFIX)
        values = column_of(Knob(name=name))
        if name != RHO0.name and values in frame:
            yield name, column, values


def with_knobs_of_methods(frame: pd.DataFrame) -> pd.DataFrame:
    """Give each trial the knobs of its method, which some of several joined tables may not name.

    A trial with a value of an axis has the knob that the table names for its configuration, or else
    for its method, if the value is one on the scale.

    Args:
        frame: a table of trials, with text in the columns of axes and knobs.
    """
    changed = {}
    for name, column, values in _with_axis(frame):
        texts = frame[column]
        if (texts == "").all():
            continue
        for key in ("configuration_id", "method"):
            named = texts[texts != ""].groupby(frame[key]).min()
            texts = texts.where(texts != "", frame[key].map(named).fillna(""))
        knobs = {text: knob_of(name, text) for text in set(texts)}
        fits = [
            (knob := knobs[text]) is not None and label != "" and not knob.problem_with(label)
            for text, label in zip(texts, frame[values], strict=True)
        ]
        changed[column] = texts.where(np.array(fits), frame[column])
    return frame.assign(**changed)


def with_one_label(frame: pd.DataFrame) -> pd.DataFrame:
    """Give each value of a knob one label, such as ``0.1`` where ``0.10`` and ``1e-1`` are, too.

    Of the labels of a number, all trials of which it is a value get the shortest, or the first of
    those in the alphabet: the order of joined tables has no effect.

    Args:
        frame: a table of trials, with text in the columns of axes and knobs.
    """
    changed = {}
    for name, column, values in _with_axis(frame):
        knobs = {text: knob_of(name, text) for text in set(frame[column])}
        numeric = {text for text, knob in knobs.items() if knob and knob.scale != "nominal"}
        has = frame[column].isin(numeric)
        shortest: dict[float, str] = {}
        for label in sorted(set(frame.loc[has, values]), key=lambda label: (len(label), label)):
            if not math.isnan(number := number_of(label)):
                shortest.setdefault(number, label)
        labels = [
            shortest.get(number_of(label), label) if is_value else label
            for label, is_value in zip(frame[values], has, strict=True)
        ]
        changed[values] = labels
    return frame.assign(**changed)


def problems(frame: pd.DataFrame) -> Iterator[str]:
    """What is wrong with the columns of knobs in a table of trials, each in one line.

    Args:
        frame: a table of trials, with text in the columns of axes and knobs.
    """
    for column in knob_columns(frame):
        name = column.removeprefix(KNOB_PREFIX)
        values = column_of(Knob(name=name))
        if values not in frame:
            yield f"column {column!r} names a knob, but there is no column {values!r}; add it"
            continue
        scales = set()
        pairs = frame[[column, values]].astype(str).drop_duplicates()
        for text, label in pairs.itertuples(index=False, name=None):
            knob = knob_of(name, text) if text else None
            if text and knob is None:
                yield (
                    f"column {column!r} has the value {text!r}; it must be empty, 'nominal', "
                    "'linear' or 'log', or a range such as 'log from 0.001 to 1'"
                )
            elif knob is not None:
                scales.add(knob.scale)
                if label and (problem := knob.problem_with(label)):
                    yield f"column {values!r} has the value {label!r}, which {problem}"
        if len(scales) > 1:
            several = " and ".join(sorted(scales))
            yield f"column {column!r} has the scales {several}; use one of them"
        if name == RHO0.name and scales - {RHO0.scale}:
            yield f"column {column!r} has the scale {min(scales)}; that of rho0 must be 'log'"
