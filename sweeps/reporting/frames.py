"""Tables of `analysis.columns` from trial folders."""

from collections.abc import Collection
from dataclasses import fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.columns import (
    ADDED,
    AXIS_PREFIX,
    HISTOGRAMS,
    HISTORY_MAY_HAVE,
    RECIPE_PREFIX,
    TRIALS,
    TRIALS_MAY_HAVE,
    axis_columns,
    empty,
    history_columns,
)
from analysis.knobs.knob import KNOB_PREFIX, RHO0, knob_column
from analysis.metric import ACCURACY, Metric
from quantlab import flatten
from quantlab.optim.histogram import WeightHistogram
from sweeps.coordinates import bits, classes, level_set, network_bits, regime, rho0
from sweeps.labels import label_of_number
from sweeps.selection.added import added_to
from sweeps.spec import SweepSpec
from sweeps.storage.folder import Storage, TrialState
from sweeps.storage.records import Epoch

_OF_RESULTS = (
    "selected_epoch",
    "file_bytes",
    "code_bits",
    "compression",
    "training_images",
    "pack",
    "execution",
    "device",
    "processor",
    "host",
    "command",
)
"""Fields of a result that become columns; results of earlier releases lack some of them."""


def trials_frame(sweep: SweepSpec, storage: Storage) -> pd.DataFrame:
    """Return the table of trials: one row for each cell of a sweep, finished or not."""
    core = ("method", "set", "rho0", "seed")
    added = added_to(sweep)
    rows = []
    for cell in sweep.cells:
        folder = storage.trial(cell.fingerprint)
        result = folder.result.read()
        state = folder.state() if result is None else result.state
        values = {} if result is None else result.as_mapping()
        history = folder.read_history()
        rows.append(
            {
                "sweep": sweep.name,
                "trial_id": cell.fingerprint,
                "configuration_id": cell.configuration_id,
                "name": cell.name,
                "dataset": cell.recipe.dataset.name,
                "model": cell.recipe.model.name,
                "regime": regime(cell),
                "method": cell.method,
                "set": level_set(cell),
                "rho0": rho0(cell),
                "seed": cell.recipe.seed,
                "state": state.value,
                **{
                    f"{split}_{metric.name}": values.get(f"{split}_{metric.name}")
                    for metric in cell.recipe.task.metrics
                    for split in ("validation", "test")
                },
                "epochs": history.leading if result is None else result.epochs,
                "seconds": history.seconds,
                "git_commit": "" if result is None else result.git_commit,
                "bits": bits(cell.recipe, values),
                "network_bits": network_bits(cell.recipe, values),
                "classes": (outputs := values.get("classes") or classes(cell.recipe)),
                "chance": None if outputs is None else cell.recipe.task.guess(outputs),
                **{name: values.get(name) for name in _OF_RESULTS},
                **({} if added is None else {ADDED: added.get(cell.fingerprint, "")}),
                **{
                    f"{AXIS_PREFIX}{axis}": label
                    for axis, label in cell.coordinates.items()
                    if axis not in core or (axis == "rho0" and rho0(cell) is None)
                },
                **{
                    knob_column(axis): text
                    for axis, text in cell.knobs.items()
                    if axis != RHO0.name or rho0(cell) is not None
                },
                **{f"{RECIPE_PREFIX}{key}": value for key, value in flatten(cell.recipe).items()},
            }
        )
    frame = pd.DataFrame(rows)
    guesses = frame["chance"].astype(float)
    if (guesses.isna() | (guesses == 1 / frame["classes"].astype(float))).all():
        frame = frame.drop(columns="chance")
    known = {**TRIALS, **TRIALS_MAY_HAVE}
    numbers = [name for name, (kind, _) in known.items() if kind != "text" and name in frame]
    measures = {
        f"{split}_{metric.name}"
        for cell in sweep.cells
        for metric in cell.recipe.task.metrics
        for split in ("validation", "test")
    }
    numbers += [name for name in sorted(measures) if name not in numbers]
    numbers.remove("seed")  # large integers are not exact as floats
    frame[numbers] = frame[numbers].astype(float)
    texts = [name for name in frame.columns if name.startswith((AXIS_PREFIX, KNOB_PREFIX))]
    frame[texts] = frame[texts].fillna("")
    return frame


def axes_of_table(trials: pd.DataFrame) -> list[dict[str, str]]:
    """Return the axes of each trial of a table, by which trials are chosen: name -> label.

    Args:
        trials: columns of `analysis.columns.trials_columns`.
    """
    names = {name: name.removeprefix(AXIS_PREFIX) for name in axis_columns(trials)}
    names = {name: name for name in _CHOSEN_BY if name in trials} | names
    axes: list[dict[str, str]] = [{} for _ in range(len(trials))]
    for column, name in names.items():
        for one, value in zip(axes, trials[column], strict=True):
            label = label_of_number(value) if isinstance(value, float) else str(value)
            if label not in ("", "nan"):
                one[name] = label
    return axes


_CHOSEN_BY = ("method", "set", "rho0", "seed", "regime", "model", "dataset")
"""Columns that are axes, as in `sweeps.selection.axes`, besides further axes."""


def history_frame(sweep: SweepSpec, storage: Storage, metric: Metric = ACCURACY) -> pd.DataFrame:
    """Return the learning curves: one row for each epoch of each trial of a sweep.

    Args:
        sweep: the sweep.
        storage: the folder of its trials.
        metric: the main metric of the trials.
    """
    columns = {**history_columns(metric), **HISTORY_MAY_HAVE}
    own = [field.name for field in fields(Epoch) if field.name in columns]
    rows = [
        {
            "trial_id": cell.fingerprint,
            **{name: getattr(record, name) for name in own},
            "stage": record.stage.value,
            **{f"validation_{name}": value for name, value in record.validation.items()},
        }
        for cell in sweep.cells
        for record in storage.trial(cell.fingerprint).read_history()
    ]
    if not rows:
        return empty(columns)
    frame = pd.DataFrame(rows, columns=list(columns))
    numbers = [name for name, (kind, _) in columns.items() if kind != "text"]
    missing = [name for name in numbers if frame[name].isna().all()]  # no numbers, but None
    return frame.astype(dict.fromkeys(missing, float))


def histograms_frame(
    sweep: SweepSpec, storage: Storage, configurations: Collection[str]
) -> pd.DataFrame:
    """Return the histograms of weights of each configuration's first COMPLETE trial.

    Args:
        sweep: the sweep.
        storage: the folder of its trials.
        configurations: ids of the configurations to include.
    """
    remaining = set(configurations)
    frames = []
    for cell in sweep.cells:
        if cell.configuration_id not in remaining:
            continue
        folder = storage.trial(cell.fingerprint)
        if folder.state() is not TrialState.COMPLETE:
            continue
        remaining.remove(cell.configuration_id)
        found = [
            (record.epoch, record.weight_histogram)
            for record in folder.read_history()
            if record.weight_histogram is not None
        ]
        low = min((histogram.low for _, histogram in found), default=0.0)
        high = max((histogram.high for _, histogram in found), default=0.0)
        for epoch, histogram in found:
            weights, counts = _counts(histogram, low, high)
            frames.append(
                pd.DataFrame(
                    {
                        "configuration_id": cell.configuration_id,
                        "trial_id": cell.fingerprint,
                        "epoch": epoch,
                        "weight": weights,
                        "fraction": counts / max(counts.sum(), 1),
                    }
                )
            )
    return pd.concat(frames) if frames else empty(HISTOGRAMS)


def _counts(
    histogram: WeightHistogram, low: float, high: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bins from `low` to `high`, and the counts of a histogram of a part of this range.

    Histograms of weights on an unbounded set have the range of the weights of their epoch.
    """
    counts = np.array(histogram.counts, dtype=float)
    bins = len(counts)
    if (histogram.low, histogram.high) != (low, high):
        own = np.linspace(histogram.low, histogram.high, bins)
        places = np.round((own - low) / (high - low) * (bins - 1)).astype(int)
        counts = np.bincount(places, weights=counts, minlength=bins)
    return np.linspace(low, high, bins), counts
