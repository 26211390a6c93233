"""Axes for trials of one method that were trained differently.

Accuracies after 2 and after 200 epochs must not be averaged, even if someone joins their tables.
The recipes in the table show such differences, and each becomes an axis of the sweep.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import pandas as pd

from analysis.columns import AXIS_PREFIX, RECIPE_PREFIX, axis_columns

TRAINING: Final[Mapping[str, tuple[str, ...]]] = {
    "epochs": ("epochs",),
    "batchnorm_epochs": ("batchnorm_epochs",),
    "batch_size": ("batch_size",),
    "steps_per_epoch": ("steps_per_epoch",),
    "dataset": ("dataset",),
    "optimizer": ("optimizer",),
    "select": ("select",),
    "distillation": ("distillation",),
    "moving_average": ("moving_average",),
}
"""Axis -> paths of the recipe that it covers: how a trial was trained, apart from its method."""

_MEANT = {f"{RECIPE_PREFIX}select": "last"}
"""Column -> value of trials whose table does not have the column, because it is older."""


def with_training_axes(frame: pd.DataFrame) -> pd.DataFrame:
    """Add an axis for each part of `TRAINING` in which trials of one method differ.

    No axis is added for differences between methods or between quantization sets, which are not
    averaged, for those between the seeds of a configuration, such as teachers of the same seeds,
    nor for those that an axis of the sweep already explains.

    Args:
        frame: table of trials, with text in its axis columns.

    Returns:
        The table with the axes added as text columns; the values are empty in settings (dataset,
        model and regime) that have no such difference.
    """
    setting, axes = ["dataset", "model", "regime"], axis_columns(frame)
    for name, paths in TRAINING.items():
        columns = [column for column in frame.columns if _is_below(column, paths)]
        if not columns or f"{AXIS_PREFIX}{name}" in axes:
            continue
        texts = pd.DataFrame(
            {column: texts_of(frame[column], setting_text) for column in columns},
            index=frame.index,
        )
        for column in _MEANT.keys() & set(texts):
            texts[column] = texts[column].replace("", _MEANT[column])
        several = [column for column in columns if texts[column].nunique() > 1]
        if not several:  # as most often; the groups below take long
            continue
        keys = [*setting, "method", "set", *axes]
        within = texts[several].groupby(frame["configuration_id"]).transform("nunique")
        of_seeds = {column for column in several if (within[column] > 1).any()}
        columns = [column for column in columns if column not in of_seeds]
        counts = texts[several].groupby([frame[key] for key in keys]).transform("nunique")
        varying = [column for column in columns if column in counts and (counts[column] > 1).any()]
        if not varying:
            continue
        where = (counts[varying] > 1).any(axis="columns")
        where = where.groupby([frame[key] for key in setting]).transform("any")
        rows = texts[varying].itertuples(index=False, name=None)
        values = [
            _named(varying, row, is_single=len(columns) == 1) if is_here else ""
            for row, is_here in zip(rows, where, strict=True)
        ]
        frame = frame.assign(**{f"{AXIS_PREFIX}{name}": values})
        axes.append(f"{AXIS_PREFIX}{name}")
    return frame


def _is_below(column: str, paths: Sequence[str]) -> bool:
    path = column.removeprefix(RECIPE_PREFIX)
    return path != column and any(path == one or path.startswith(f"{one}.") for one in paths)


def _named(columns: Sequence[str], values: Sequence[str], *, is_single: bool) -> str:
    """Name settings and their values, without those that a trial does not have."""
    if is_single:
        return ", ".join(values)
    pairs = zip(columns, values, strict=True)
    return ", ".join(f"{_last(column)}={value}" for column, value in pairs if value) or "none"


def _last(column: str) -> str:
    return column.rsplit(".", 1)[-1]


def texts_of(values: pd.Series, write: Callable[[object], str]) -> list[str]:
    """The text of each cell of a column. Cells that are the same are written once.

    Args:
        values: the column, of any types.
        write: `setting_text` or `as_text`.
    """
    known: dict[tuple[type, object], str] = {}
    texts = []
    for value in values.tolist():
        key = (type(value), value)  # 1 and True are equal, but not the same
        try:
            text = known.get(key)
        except TypeError:  # such as a list
            texts.append(write(value))
            continue
        if text is None:
            text = known[key] = write(value)
        texts.append(text)
    return texts


def setting_text(value: object) -> str:
    """A setting of a recipe as text; 30, 30.0 and "30.0" give the same text, ``30``."""
    text = as_text(value)
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def as_text(value: object) -> str:
    """A cell of a text column as text: ``2`` for 2.0, and an empty text for a missing value."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        return str(int(value)) if float(value).is_integer() else str(value)
    return str(value)
