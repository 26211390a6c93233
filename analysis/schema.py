"""The tidy tables that the analysis reads. Every column is written here; only trials are needed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pandas as pd

from analysis.text import brief, plain

STATES: Final = ("COMPLETE", "DIVERGED", "FAILED", "STOPPED", "RUNNING", "INTERRUPTED", "WAITING")
"""COMPLETE and DIVERGED are results of a configuration; FAILED is a fault to mend; STOPPED was put
out of a study's race; RUNNING is being trained; INTERRUPTED was begun, and nobody trains it now;
WAITING has not been begun."""

AXIS_PREFIX: Final = "axis."
"""Further axes of a sweep, beyond those below, stand in columns ``axis.<name>`` as text."""
RECIPE_PREFIX: Final = "recipe."
"""The recipe of a trial stands in columns ``recipe.<dotted path>``."""
TRAINING: Final[Mapping[str, tuple[str, ...]]] = {
    "epochs": ("epochs",),
    "batchnorm_epochs": ("batchnorm_epochs",),
    "batch_size": ("batch_size",),
    "dataset": ("dataset",),
    "optimizer": ("optimizer",),
}
"""Axis -> paths of a recipe: how a trial was trained, as far as it is not its method."""

TRIALS: Final[Mapping[str, tuple[str, str]]] = {
    "sweep": ("text", "name of the sweep"),
    "trial_id": ("text", "fingerprint of the recipe; unique"),
    "configuration_id": ("text", "fingerprint without the seed"),
    "name": ("text", "the trial's name for people"),
    "dataset": ("text", "name of the dataset"),
    "model": ("text", "name of the architecture"),
    "regime": ("text", "end-to-end, from random weights, or fine-tuning"),
    "method": ("text", "BC, PQ, rPC, PC, FP, or what the sweep calls it"),
    "set": ("text", "quantization set; empty in full precision"),
    "rho0": (
        "number",
        "the axis rho0, else that of the sharpness schedule; missing where there is neither",
    ),
    "seed": ("number", "seed of the trial"),
    "state": ("text", "one of " + ", ".join(STATES)),
    "validation_accuracy": (
        "fraction",
        "of the finished network; missing unless COMPLETE, and where no images were held out",
    ),
    "test_accuracy": ("fraction", "of the finished network; missing unless COMPLETE"),
    "epochs": ("number", "epochs trained so far"),
    "seconds": ("number", "training time so far"),
    "git_commit": ("text", "commit of the code that ran the trial; empty if unknown"),
}
"""Column -> (kind, meaning); one row a trial."""

TRIALS_MAY_HAVE: Final[Mapping[str, tuple[str, str]]] = {
    "bits": (
        "number",
        "bits a quantized weight, log2 of the number of levels; 32 in full precision",
    ),
    "network_bits": (
        "number",
        "bits of a number that the network stores, with 32 for all that is not quantized",
    ),
    "classes": ("number", "classes of the dataset: guessing is right once in as many"),
    "training_images": ("number", "images it was trained on, without those held out"),
    "pack": ("number", "trials that were trained together as one network; 1 if it was alone"),
    "execution": ("text", "how it was computed, as `--execution` takes it"),
    "device": ("text", "what computed it"),
}
"""Further columns, for what needs them; so are `AXIS_PREFIX` and `RECIPE_PREFIX`."""
_LEAST = {
    "rho0": 0,
    "seed": None,
    "epochs": 0,
    "seconds": 0,
    "bits": 0,
    "network_bits": 0,
    "classes": 1,
    "pack": 1,
    "training_images": 0,
}
"""Column of finite numbers -> the least that makes sense, if there is one."""

HISTORY: Final[Mapping[str, tuple[str, str]]] = {
    "trial_id": ("text", "fingerprint of the recipe"),
    "stage": ("text", "quantize or batchnorm"),
    "epoch": ("number", "epochs finished, over both stages, from 1"),
    "step": ("number", "gradient steps finished"),
    "learning_rate": ("number", "of the epoch's last step"),
    "sharpness": ("number", "rho_t of the epoch's last step; w is mapped with the next"),
    "train_loss": ("number", "mean cross-entropy over the epoch"),
    "validation_accuracy_latent": ("fraction", "at w*"),
    "validation_accuracy_proximal": ("fraction", "at P(w*)"),
    "validation_accuracy_hard": ("fraction", "at the hard weights, P_Q of w* or of w"),
    "quantization_gap": ("number", "root mean square of w less the hard weights"),
    "seconds": ("number", "wall time of the epoch"),
}
"""Column -> (kind, meaning); one row an epoch of a trial."""

HISTOGRAMS: Final[Mapping[str, tuple[str, str]]] = {
    "configuration_id": ("text", "of the trial"),
    "trial_id": ("text", "one trial a configuration"),
    "epoch": ("number", "epochs finished"),
    "weight": ("number", "middle of a bin of w"),
    "fraction": ("fraction", "of the quantized weights in the bin"),
}
"""Column -> (kind, meaning); one row a bin and epoch."""

MAPS: Final[Mapping[str, tuple[str, str]]] = {
    "figure": ("text", "which figure it belongs to"),
    "row": ("text", "of the panel in the figure, such as a method"),
    "column": ("text", "of the panel in the figure, such as a set"),
    "curve": ("text", "name of the map in its panel; empty for the only one"),
    "latent": ("number", "w*"),
    "proximal": ("number", "w = P(w*)"),
}
"""Column -> (kind, meaning); one row a point of a map."""

IMPORTANCE: Final[Mapping[str, tuple[str, str]]] = {
    "dataset": ("text", "as in trials"),
    "model": ("text", "as in trials"),
    "regime": ("text", "as in trials"),
    "method": ("text", "whose trials were looked at; empty for all"),
    "factor": ("text", "set, method, ρ0 or seed"),
    "importance": ("fraction", "of the factor by itself; a group's add up to 1"),
}
"""Column -> (kind, meaning); what another estimator makes of the variance."""


_LONGEST = 600
"""Letters of a message, which may quote what is in a table."""


class SchemaError(ValueError):
    """A table is not as the schema says; the message names the column, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(brief(plain(message), _LONGEST))


def validate_trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Check a table of trials, and give it back: text and plain floats, rows counted from 0.

    Text is empty where a CSV file had nothing. Where trials of one method were trained differently
    (see `TRAINING`), a further axis says so.

    Raises:
        SchemaError: a column is missing or of the wrong kind, a trial or a configuration's seed
            stands there twice, a state is unknown, a number is infinite or out of its range, a
            COMPLETE trial has no test accuracy, or configurations cannot be told apart by their
            columns.
    """
    if odd := [column for column in frame.columns if not isinstance(column, str)]:
        raise SchemaError(f"trials: column {odd[0]!r}: names of columns must be text")
    present = {name: of for name, of in TRIALS_MAY_HAVE.items() if name in frame.columns}
    _validate(frame, {**TRIALS, **present}, "trials")
    known = {**TRIALS, **present}
    texts = [column for column, (kind, _) in known.items() if kind == "text"]
    texts += axes_of(frame)
    numbers = [column for column in known if column not in texts]
    frame = frame.reset_index(drop=True)
    frame = frame.assign(
        **{column: frame[column].astype(object).map(_as_text) for column in texts},
        **{column: _plain_numbers(frame[column]) for column in numbers},
    )
    if not frame["trial_id"].is_unique:
        twice = frame.loc[frame["trial_id"].duplicated(), "trial_id"].iloc[0]
        raise SchemaError(
            f"trials: trial_id {brief(twice)!r} stands there twice; it must be unique"
        )
    unknown = set(frame["state"]) - set(STATES)
    if unknown:
        raise SchemaError(
            f"trials: state {brief(sorted(unknown)[0])!r} is not one of {', '.join(STATES)}"
        )
    _require_finite(frame)
    complete = frame["state"] == "COMPLETE"
    if frame.loc[complete, "test_accuracy"].isna().any():
        raise SchemaError("trials: a COMPLETE trial has no test_accuracy")
    frame = _with_training_axes(frame)
    _require_told_apart(frame)
    return frame


def _plain_numbers(values: pd.Series) -> np.ndarray:
    """As float64; seeds that are whole numbers stay so, as floats are not exact beyond 2^53."""
    if (
        values.name == "seed"
        and pd.api.types.is_signed_integer_dtype(values)
        and values.notna().all()
    ):
        return values.to_numpy("int64")
    return values.to_numpy("float64", na_value=np.nan)


def setting_text(value: object) -> str:
    """A setting of a recipe as text, the same for 30, 30.0 and what files make of them."""
    text = _as_text(value)
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _with_training_axes(frame: pd.DataFrame) -> pd.DataFrame:
    """With further axes where trials of one method were trained differently, and no axis says so.

    So accuracies after 2 and after 200 epochs are not put together, whoever joined their tables.
    """
    setting, axes = ["dataset", "model", "regime"], axes_of(frame)
    for name, paths in TRAINING.items():
        columns = [column for column in frame.columns if _is_below(column, paths)]
        if not columns or f"{AXIS_PREFIX}{name}" in axes:
            continue
        texts = frame[columns].map(setting_text)
        several = texts.groupby([frame[key] for key in [*setting, "method", *axes]]).transform(
            "nunique"
        )
        varying = [column for column in columns if (several[column] > 1).any()]
        if not varying:
            continue
        where = (several[varying] > 1).any(axis="columns")
        where = where.groupby([frame[key] for key in setting]).transform("any")
        values = [
            ", ".join(
                value if len(columns) == 1 else f"{_last(column)}={value}"
                for column, value in zip(varying, row, strict=True)
            )
            if is_here
            else ""
            for row, is_here in zip(
                texts[varying].itertuples(index=False, name=None), where, strict=True
            )
        ]
        frame = frame.assign(**{f"{AXIS_PREFIX}{name}": values})
        axes.append(f"{AXIS_PREFIX}{name}")
    return frame


def _is_below(column: str, paths: Sequence[str]) -> bool:
    path = column.removeprefix(RECIPE_PREFIX)
    return path != column and any(path == one or path.startswith(f"{one}.") for one in paths)


def _last(column: str) -> str:
    return column.rsplit(".", 1)[-1]


def axes_of(frame: pd.DataFrame) -> list[str]:
    """The columns of a sweep's further axes."""
    return [str(column) for column in frame.columns if str(column).startswith(AXIS_PREFIX)]


def _as_text(value: object) -> str:
    """What may have been taken for a number as people write it: 2, not 2.0; empty if missing."""
    if isinstance(value, str):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return ""
        return str(int(value)) if float(value).is_integer() else str(value)
    return str(value)


def _require_finite(frame: pd.DataFrame) -> None:
    """No infinity where a number is counted with, and nothing below its least value."""
    for column, least in _LEAST.items():
        if column not in frame:
            continue
        values = frame[column]
        wrong = values[np.isinf(values) | (False if least is None else values < least)]
        if len(wrong):
            allowed = "finite" if least is None else f">= {least} and finite"
            raise SchemaError(f"trials: {column} = {wrong.iloc[0]:g}: must be {allowed}")


def _require_told_apart(frame: pd.DataFrame) -> None:
    """One configuration for each id, one id for each configuration, and each seed once."""
    if frame["seed"].isna().any():
        raise SchemaError("trials: a trial has no seed")
    twice = frame[frame.duplicated(["configuration_id", "seed"])]
    if len(twice):
        row = twice.iloc[0]
        raise SchemaError(
            f"trials: seed {setting_text(row['seed'])} of configuration_id "
            f"{brief(row['configuration_id'])!r} stands there twice"
        )
    family = ["dataset", "model", "regime", "method", "set", *axes_of(frame)]
    described = frame[[*family, "rho0", "configuration_id"]].drop_duplicates()
    for columns, what in (
        (["configuration_id"], "configuration_id {!r} stands for different configurations"),
        (
            [*family, "rho0"],
            "configurations {!r} and others have the same " + ", ".join([*family, "rho0"]) + "; a "
            "further column `axis.NAME` can tell them apart",
        ),
    ):
        same = described[described.duplicated(columns)]
        if len(same):
            raise SchemaError("trials: " + what.format(brief(same.iloc[0]["configuration_id"])))
    has_rho0 = described["rho0"].notna().groupby([described[key] for key in family])
    mixed = has_rho0.nunique()
    if (mixed > 1).any():
        where = " ".join(filter(None, map(str, mixed.index[mixed.to_numpy() > 1][0])))
        raise SchemaError(f"trials: {brief(where)}: some trials have a rho0 and some have none")


def validate_history(frame: pd.DataFrame) -> pd.DataFrame:
    """Check a table of epochs, and give it back.

    Raises:
        SchemaError: a column is missing or of the wrong kind, or an epoch stands there twice.
    """
    _validate(frame, HISTORY, "history")
    if frame.duplicated(["trial_id", "epoch"]).any():
        raise SchemaError("history: an epoch of a trial stands there twice")
    return frame


def empty(columns: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """A table of no rows."""
    types = {"text": "object", "number": "float64", "fraction": "float64"}
    return pd.DataFrame({name: pd.Series(dtype=types[kind]) for name, (kind, _) in columns.items()})


@dataclass(frozen=True)
class Measurements:
    """Everything that a report is made of; all but the trials may be empty.

    Raises:
        SchemaError: a table is not as it must be.
    """

    trials: pd.DataFrame
    history: pd.DataFrame = field(default_factory=lambda: empty(HISTORY))
    histograms: pd.DataFrame = field(default_factory=lambda: empty(HISTOGRAMS))
    maps: pd.DataFrame = field(default_factory=lambda: empty(MAPS))
    importance: pd.DataFrame = field(default_factory=lambda: empty(IMPORTANCE))

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", validate_trials(self.trials))
        object.__setattr__(self, "history", validate_history(self.history))
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
            f"{table}: no column {missing[0]!r}; the table needs {', '.join(columns)}"
        )
    for column, (kind, _) in columns.items():
        if kind == "text":
            continue
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise SchemaError(
                f"{table}: column {column!r} is {frame[column].dtype}, it must hold numbers"
            )
        if kind == "fraction" and not frame[column].dropna().between(0, 1).all():
            raise SchemaError(f"{table}: column {column!r} must hold fractions in [0, 1]")
