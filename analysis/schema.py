"""The two tidy tables that the analysis reads: trials and history. Every column is written here."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

STATES: Final = ("COMPLETE", "DIVERGED", "FAILED", "RUNNING", "WAITING")
"""COMPLETE and DIVERGED are results of a configuration; FAILED is a fault to mend; RUNNING has been
started (and perhaps interrupted); WAITING has not."""

AXIS_PREFIX: Final = "axis."
"""Further axes of a sweep, beyond those below, stand in columns ``axis.<name>`` as text."""
RECIPE_PREFIX: Final = "recipe."
"""The recipe of a trial stands in columns ``recipe.<dotted path>``."""

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
    "rho0": ("number", "sharpness at step 0; missing where nothing is annealed"),
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

HISTORY: Final[Mapping[str, tuple[str, str]]] = {
    "trial_id": ("text", "fingerprint of the recipe"),
    "stage": ("text", "quantize or batchnorm"),
    "epoch": ("number", "epochs finished, over both stages, from 1"),
    "step": ("number", "gradient steps finished"),
    "learning_rate": ("number", "of the epoch's last step"),
    "sharpness": ("number", "rho_t of the epoch's last step"),
    "train_loss": ("number", "mean cross-entropy over the epoch"),
    "validation_accuracy_latent": ("fraction", "at w*"),
    "validation_accuracy_proximal": ("fraction", "at P(w*)"),
    "validation_accuracy_hard": ("fraction", "at P_Q(w*)"),
    "quantization_gap": ("number", "root mean square of w - P_Q(w*)"),
    "seconds": ("number", "wall time of the epoch"),
}
"""Column -> (kind, meaning); one row an epoch of a trial."""


class SchemaError(ValueError):
    """A table is not as the schema says; the message names the column."""


def validate_trials(frame: pd.DataFrame) -> pd.DataFrame:
    """Check a table of trials, and give it back, with empty text where a CSV file had nothing.

    Raises:
        SchemaError: a column is missing or of the wrong kind, a trial stands there twice, a state
            is unknown, or a COMPLETE trial has no test accuracy.
    """
    _validate(frame, TRIALS, "trials")
    texts = [column for column, (kind, _) in TRIALS.items() if kind == "text"]
    texts += [column for column in frame.columns if str(column).startswith(AXIS_PREFIX)]
    frame = frame.assign(
        **{column: frame[column].astype(object).fillna("").astype(str) for column in texts}
    )
    if not frame["trial_id"].is_unique:
        twice = frame.loc[frame["trial_id"].duplicated(), "trial_id"].iloc[0]
        raise SchemaError(f"trials: trial_id {twice!r} stands there twice; it must be unique")
    unknown = set(frame["state"]) - set(STATES)
    if unknown:
        raise SchemaError(f"trials: state {sorted(unknown)[0]!r} is not one of {', '.join(STATES)}")
    complete = frame["state"] == "COMPLETE"
    if frame.loc[complete, "test_accuracy"].isna().any():
        raise SchemaError("trials: a COMPLETE trial has no test_accuracy")
    return frame


def validate_history(frame: pd.DataFrame) -> pd.DataFrame:
    """Check a table of epochs, and give it back.

    Raises:
        SchemaError: a column is missing or of the wrong kind, or an epoch stands there twice.
    """
    _validate(frame, HISTORY, "history")
    if frame.duplicated(["trial_id", "epoch"]).any():
        raise SchemaError("history: an epoch of a trial stands there twice")
    return frame


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
