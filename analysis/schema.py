"""Checks of the tables that the analysis reads; `analysis.columns` has their columns."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.columns import (
    HISTOGRAMS,
    HISTORY,
    HISTORY_MAY_HAVE,
    IMPORTANCE,
    MAPS,
    STATES,
    TRIALS_MAY_HAVE,
    axis_columns,
    empty,
    history_columns,
    trials_columns,
)
from analysis.knobs.columns import knob_columns, problems, with_knobs_of_methods, with_one_label
from analysis.metric import ACCURACY, ACCURACY_TOP5, Metric
from analysis.text import brief, plain
from analysis.training_axes import as_text, setting_text, texts_of, with_training_axes

_LEAST = {
    "rho0": 0,
    "seed": None,
    "epochs": 0,
    "seconds": 0,
    "bits": 0,
    "network_bits": 0,
    "file_bytes": 1,
    "code_bits": 0,
    "compression": 0,
    "classes": 1,
    "chance": None,
    "pack": 1,
    "selected_epoch": 1,
    "training_images": 0,
}
"""Column of finite numbers -> smallest value allowed; None if there is no lower limit."""

_LONGEST = 600
"""Letters of a message, which may quote cells of a table."""


class SchemaError(ValueError):
    """A table does not follow the schema. The message is one line that names the column."""

    def __init__(self, message: str) -> None:
        super().__init__(brief(plain(message), _LONGEST))


def validate_trials(frame: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Check a table of trials and return it with plain types.

    Args:
        frame: columns of `columns.trials_columns`, and any of the optional ones.
        metric: what the trials are compared by.

    Returns:
        The table with text columns of str, number columns of float64 (whole seeds stay int64) and
        an index from 0. Missing text is empty, an axis that is a knob of some trials of a method is
        one of all, and each value of a knob has one label. If trials of one method were trained
        differently, the table has further axes (see `training_axes`).

    Raises:
        SchemaError: a column is missing or of the wrong kind; a trial, or a seed of a
            configuration,
            occurs twice; a state is unknown; a number is infinite or out of range; a COMPLETE trial
            has no test value; a column that names a knob (see `knobs.knob`) has no such text; or
            two configurations have the same values in all their columns.
    """
    if odd := [column for column in frame.columns if not isinstance(column, str)]:
        raise SchemaError(
            f"trials: the column name {odd[0]!r} is not text; give the column a name that is text"
        )
    present = {name: of for name, of in TRIALS_MAY_HAVE.items() if name in frame.columns}
    known = {**trials_columns(metric), **present}
    _require_metric(frame, metric)
    numbers = [column for column, (kind, _) in known.items() if kind != "text"]
    # A column without any number, such as rho0 of methods that have none, may have no type either.
    missing = [column for column in numbers if column in frame and frame[column].isna().all()]
    frame = frame.assign(**dict.fromkeys(missing, np.nan))
    _validate(frame, known, "trials")
    texts = [column for column in known if column not in numbers]
    texts += axis_columns(frame) + knob_columns(frame)
    frame = frame.reset_index(drop=True)
    frame = frame.assign(
        **{column: texts_of(frame[column], as_text) for column in texts},
        **{column: _plain_numbers(frame[column]) for column in numbers},
    )
    if not frame["trial_id"].is_unique:
        twice = frame.loc[frame["trial_id"].duplicated(), "trial_id"].iloc[0]
        raise SchemaError(
            f"trials: trial_id {brief(twice)!r} occurs more than once; remove the duplicate rows "
            "or give each trial an id of its own"
        )
    unknown = set(frame["state"].unique()) - set(STATES)
    if unknown:
        raise SchemaError(
            f"trials: state {brief(sorted(unknown)[0])!r} is unknown; it must be one of "
            f"{', '.join(STATES)}"
        )
    for problem in problems(frame):
        raise SchemaError(f"trials: {problem}")
    _require_finite(frame)
    _require_exact_seeds(frame)
    _require_possible(frame, metric)
    complete, test = frame["state"] == "COMPLETE", metric.column("test")
    if frame.loc[complete, test].isna().any():
        trial = frame.loc[complete & frame[test].isna(), "trial_id"].iloc[0]
        raise SchemaError(
            f"trials: the COMPLETE trial {brief(trial)!r} has no {test}; fill it in or "
            "change the trial's state"
        )
    frame = with_training_axes(with_one_label(with_knobs_of_methods(frame)))
    _require_distinct(frame)
    return frame


def _plain_numbers(values: pd.Series) -> np.ndarray:
    """Float64; whole seeds stay int64 because floats are not exact beyond 2^53."""
    if (
        values.name == "seed"
        and pd.api.types.is_signed_integer_dtype(values)
        and values.notna().all()
    ):
        return values.to_numpy("int64")
    return values.to_numpy("float64", na_value=np.nan)


def _require_finite(frame: pd.DataFrame) -> None:
    """Refuse infinite numbers, and those below the least value of their column."""
    for column, least in _LEAST.items():
        if column not in frame:
            continue
        values = frame[column]
        wrong = values[np.isinf(values) | (False if least is None else values < least)]
        if len(wrong):
            allowed = "finite" if least is None else f"finite and >= {least}"
            raise SchemaError(
                f"trials: column {column!r} has the value {wrong.iloc[0]:g}; it must be {allowed}"
            )


def _require_exact_seeds(frame: pd.DataFrame) -> None:
    """Refuse seeds that have lost digits, with which two of them may have become one."""
    seeds = frame["seed"]
    if pd.api.types.is_integer_dtype(seeds) or not (wrong := seeds[seeds.abs() > 2**53]).size:
        return
    raise SchemaError(
        f"trials: column 'seed' has the value {wrong.iloc[0]:g}, whose last digits are lost; all "
        "seeds must be integers below 2^63, or numbers of at most 2^53"
    )


def _require_metric(frame: pd.DataFrame, metric: Metric) -> None:
    """Name the metrics that a table has, if it does not have the one that is needed."""
    test = metric.column("test")
    others = [str(name) for name in frame.columns if str(name).startswith("test_")]
    if test not in frame.columns and others:
        raise SchemaError(
            f"trials: column {test!r} is missing, but there is {others[0]!r}; name the metric that "
            "the trials are compared by (in the terminal, with --metric)"
        )


def _require_possible(frame: pd.DataFrame, metric: Metric) -> None:
    """Refuse values of the metric that are infinite or beyond its bounds."""
    low = -math.inf if metric.least is None else metric.least
    high = math.inf if metric.most is None else metric.most
    for column in map(metric.column, ("validation", "test")):
        values = frame[column].dropna()
        wrong = values[~np.isfinite(values) | ~values.between(low, high)]
        if len(wrong):
            bounds = [f">= {low:g}"] * (low > -math.inf) + [f"<= {high:g}"] * (high < math.inf)
            raise SchemaError(
                f"trials: column {column!r} has the value {wrong.iloc[0]:g}; it must be "
                + " and ".join(["finite", *bounds])
            )


def _require_distinct(frame: pd.DataFrame) -> None:
    """Refuse ids that do not match configurations one to one, and repeated seeds."""
    if frame["seed"].isna().any():
        trial = frame.loc[frame["seed"].isna(), "trial_id"].iloc[0]
        raise SchemaError(
            f"trials: trial {brief(trial)!r} has no seed; every trial must have a number there"
        )
    twice = frame[frame.duplicated(["configuration_id", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise SchemaError(
            f"trials: seed {setting_text(row['seed'])} of configuration_id "
            f"{brief(row['configuration_id'])!r} occurs more than once; keep one of these trials"
        )
    family = ["dataset", "model", "regime", "method", "set", *axis_columns(frame)]
    described = frame[[*family, "rho0", "configuration_id"]].drop_duplicates()
    for columns, what in (
        (
            ["configuration_id"],
            "rows of configuration_id {!r} differ in "
            + ", ".join([*family, "rho0"])
            + "; give each "
            "configuration an id of its own",
        ),
        (
            [*family, "rho0"],
            "configuration_id {!r} has the same "
            + ", ".join([*family, "rho0"])
            + " as another; use "
            "one id, or add a column `axis.NAME` with what distinguishes them",
        ),
    ):
        same = described[described.duplicated(columns)]
        if len(same):
            raise SchemaError("trials: " + what.format(brief(same.iloc[0]["configuration_id"])))
    has_rho0 = described["rho0"].notna().groupby([described[key] for key in family])
    mixed = has_rho0.nunique()
    if (mixed > 1).any():
        where = " ".join(filter(None, map(str, mixed.index[mixed.to_numpy() > 1][0])))
        raise SchemaError(
            f"trials: {brief(where)}: some trials have a rho0 and others do not; fill in all or "
            "none, or use two method names"
        )


def validate_history(frame: pd.DataFrame, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Check a table of epochs and return it unchanged.

    Args:
        frame: columns of `columns.history_columns`, and any of `columns.HISTORY_MAY_HAVE`.
        metric: what the trials are compared by.

    Raises:
        SchemaError: a column is missing or of the wrong kind, or an epoch of a trial occurs twice.
    """
    present = {name: of for name, of in HISTORY_MAY_HAVE.items() if name in frame.columns}
    _validate(frame, {**history_columns(metric), **present}, "history")
    twice = frame[frame.duplicated(["trial_id", "epoch"])]
    if len(twice):
        row = twice.iloc[0]
        raise SchemaError(
            f"history: epoch {row['epoch']:g} of trial {brief(str(row['trial_id']))!r} occurs more "
            "than once; keep one of these rows"
        )
    return frame


@dataclass(frozen=True)
class Measurements:
    """The tables from which a report is made; all but the trials may be empty.

    The tables are checked when an instance is made, and `trials` becomes what `validate_trials`
    returns. `analysis.columns` has the columns of each.

    Raises:
        SchemaError: a table lacks a column, or holds values that are not allowed.
    """

    trials: pd.DataFrame
    history: pd.DataFrame = field(default_factory=lambda: empty(HISTORY))
    """An empty table may have the columns of any metric."""
    histograms: pd.DataFrame = field(default_factory=lambda: empty(HISTOGRAMS))
    maps: pd.DataFrame = field(default_factory=lambda: empty(MAPS))
    importance: pd.DataFrame = field(default_factory=lambda: empty(IMPORTANCE))
    metric: Metric = ACCURACY
    """What the trials are compared by. It gets the decimals that the trials need, if it has no
    number of them."""
    further: tuple[Metric, ...] = (ACCURACY_TOP5,)
    """Metrics that are shown for each trial, if the table of trials has them."""

    def __post_init__(self) -> None:
        metric, history = self.metric, self.history
        trials = validate_trials(self.trials, metric)
        object.__setattr__(self, "trials", trials)
        object.__setattr__(self, "metric", metric.with_digits(trials[metric.column("test")]))
        object.__setattr__(
            self,
            "further",
            tuple(
                other.with_digits(trials[other.column("test")])
                for other in self.further
                if other.column("test") in trials and other.name != metric.name
            ),
        )
        if history.empty and not set(history_columns(metric)) <= set(history.columns):
            history = empty(history_columns(metric))
        object.__setattr__(self, "history", validate_history(history, metric))
        for name, columns in (
            ("histograms", HISTOGRAMS),
            ("maps", MAPS),
            ("importance", IMPORTANCE),
        ):
            _validate(getattr(self, name), columns, name)


def _validate(frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]], table: str) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise SchemaError(
            f"{table}: column {missing[0]!r} is missing; the table needs {', '.join(columns)}"
        )
    for column, (kind, _) in columns.items():
        if kind == "text":
            continue
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise SchemaError(
                f"{table}: column {column!r} has type {frame[column].dtype}; it must hold numbers"
            )
        if kind == "fraction" and not frame[column].dropna().between(0, 1).all():
            wrong = frame.loc[frame[column].notna() & ~frame[column].between(0, 1), column].iloc[0]
            raise SchemaError(
                f"{table}: column {column!r} has the value {wrong:g}; it must hold fractions "
                "in [0, 1]"
            )
