"""The columns of the tables that the analysis reads.

Every table is tidy: one observation per row, one meaning per column. Only the table of trials is
needed; the others may be empty.
"""

from collections.abc import Mapping
from typing import Final

import pandas as pd

from analysis.metric import ACCURACY, Metric

STATES: Final = ("COMPLETE", "DIVERGED", "FAILED", "STOPPED", "RUNNING", "INTERRUPTED", "WAITING")
"""The states of a trial. COMPLETE and DIVERGED are results of its configuration. FAILED means that
an error ended the trial, and STOPPED that a study's pruner did. A RUNNING trial is being trained;
an INTERRUPTED one was started, and no process trains it now; a WAITING one has not been started."""

AXIS_PREFIX: Final = "axis."
"""Further axes of a sweep, beyond those of `TRIALS`, are text columns named ``axis.<name>``."""
RECIPE_PREFIX: Final = "recipe."
"""The settings of a trial's recipe are columns named ``recipe.<dotted path>``."""
ADDED: Final = "added"
"""The column of a sweep that was run until its questions were decided; see `TRIALS_MAY_HAVE`."""

TRIALS: Final[Mapping[str, tuple[str, str]]] = {
    "sweep": ("text", "name of the sweep"),
    "trial_id": ("text", "fingerprint of the recipe; unique"),
    "configuration_id": ("text", "fingerprint of the recipe without its seed"),
    "name": ("text", "readable name of the trial"),
    "dataset": ("text", "name of the dataset"),
    "model": ("text", "name of the architecture"),
    "regime": ("text", "end-to-end (from random weights) or fine-tuning"),
    "method": ("text", "BC, PQ, rPC, PC, FP, or the sweep's own name for it"),
    "set": ("text", "quantization set; empty in full precision"),
    "rho0": (
        "number",
        "value of the axis rho0, or else of the sharpness schedule; missing if there is neither",
    ),
    "seed": ("number", "seed of the trial"),
    "state": ("text", "one of " + ", ".join(STATES)),
    "validation_accuracy": (
        "fraction",
        "accuracy of the finished network on validation images; missing unless COMPLETE, and if no "
        "images were held out",
    ),
    "test_accuracy": (
        "fraction",
        "accuracy of the finished network on test images; missing unless COMPLETE",
    ),
    "epochs": ("number", "epochs trained so far"),
    "seconds": ("number", "training time so far, in seconds"),
    "git_commit": (
        "text",
        "commit of the code that ran the trial, with a + if it had uncommitted changes; empty if "
        "unknown",
    ),
}
"""Column -> (kind, meaning); one row per trial. These are the columns of accuracies, and
`trials_columns` returns those of another metric."""

TRIALS_MAY_HAVE: Final[Mapping[str, tuple[str, str]]] = {
    "validation_accuracy_top5": (
        "fraction",
        "top-5 accuracy on validation images; missing as the accuracy is, and with up to 5 classes",
    ),
    "test_accuracy_top5": (
        "fraction",
        "top-5 accuracy on test images; missing unless COMPLETE, and with up to 5 classes",
    ),
    "selected_epoch": (
        "number",
        "epoch whose network was evaluated, if the best on validation images was selected",
    ),
    "bits": (
        "number",
        "bits of a quantized weight, log2 of the number of levels; 32 in full precision",
    ),
    "network_bits": (
        "number",
        "mean bits of all numbers that the network stores; those that are not quantized have 32",
    ),
    "file_bytes": ("number", "bytes of the exported network"),
    "code_bits": (
        "number",
        "bits of a quantized weight in the exported file, with its share of levels and scales",
    ),
    "compression": ("number", "bytes of the network in float32, divided by file_bytes"),
    "classes": ("number", "number of classes; the accuracy of guessing is 1 / classes"),
    "chance": (
        "number",
        "value of the metric for random guessing; missing if it is unknown, or told by classes",
    ),
    "training_images": ("number", "number of training images, without those held out"),
    "pack": ("number", "number of trials trained together as one network; 1 if trained alone"),
    "execution": ("text", "execution options, in the form that `--execution` takes"),
    "device": ("text", "device that trained the network"),
    "processor": ("text", "processor of the machine, and the instructions that were used of it"),
    "host": ("text", "name of the machine"),
    "command": ("text", "command line that trained the network"),
    ADDED: (
        "text",
        "of a sweep that is run until decided: the questions for which the trial was added to "
        "those of the sweep; empty for these",
    ),
}
"""Optional columns of the table of trials; those with `AXIS_PREFIX` and `RECIPE_PREFIX` are
optional, too, and so are those of `knobs.knob`, which say which axes are knobs."""

HISTORY: Final[Mapping[str, tuple[str, str]]] = {
    "trial_id": ("text", "fingerprint of the recipe"),
    "stage": ("text", "quantize or batchnorm"),
    "epoch": ("number", "epochs finished over both stages, counted from 1"),
    "step": ("number", "gradient steps finished"),
    "learning_rate": ("number", "learning rate of the epoch's last step"),
    "sharpness": ("number", "rho_t of the epoch's last step; w is mapped with that of the next"),
    "train_loss": ("number", "mean loss over the epoch"),
    "validation_accuracy_latent": ("fraction", "validation accuracy at w*"),
    "validation_accuracy_proximal": ("fraction", "validation accuracy at w = P(w*)"),
    "validation_accuracy_hard": (
        "fraction",
        "validation accuracy at the hard weights, P_Q(w*), or P_Q(w) if steps start from w",
    ),
    "quantization_gap": ("number", "root mean square of w minus the hard weights"),
    "seconds": ("number", "wall time of the epoch, in seconds"),
}
"""Column -> (kind, meaning); one row per epoch of a trial. These are the columns of accuracies, and
`history_columns` returns those of another metric."""

HISTORY_MAY_HAVE: Final[Mapping[str, tuple[str, str]]] = {
    "latent_distance": ("number", "mean distance of the hard weights from the latent weights"),
    "flip_rate": (
        "fraction",
        "share of the quantized weights whose level differs from that before the epoch",
    ),
    "flip_rate_median": ("fraction", "median of this share over the quantized tensors"),
    "flip_distance": (
        "number",
        "median distance of the latents of these weights from the nearest middle of a gap between "
        "levels, in widths of the gap; missing without such weights",
    ),
}
"""Optional columns of the table of epochs, which histories of earlier releases do not have."""

HISTOGRAMS: Final[Mapping[str, tuple[str, str]]] = {
    "configuration_id": ("text", "configuration of the trial"),
    "trial_id": ("text", "the one trial that represents its configuration"),
    "epoch": ("number", "epochs finished"),
    "weight": ("number", "centre of a bin of w"),
    "fraction": ("fraction", "fraction of the quantized weights that lie in the bin"),
}
"""Column -> (kind, meaning); one row per bin and epoch."""

MAPS: Final[Mapping[str, tuple[str, str]]] = {
    "figure": ("text", "name of the figure that shows the map"),
    "row": ("text", "row of the panel in the figure, such as a method"),
    "column": ("text", "column of the panel in the figure, such as a quantization set"),
    "curve": ("text", "label of the map in its panel; empty if the panel has only one"),
    "latent": ("number", "w*"),
    "proximal": ("number", "w = P(w*)"),
}
"""Column -> (kind, meaning); one row per point of a map."""

IMPORTANCE: Final[Mapping[str, tuple[str, str]]] = {
    "dataset": ("text", "as in the table of trials"),
    "model": ("text", "as in the table of trials"),
    "regime": ("text", "as in the table of trials"),
    "method": ("text", "method whose trials were evaluated; empty for all methods"),
    "factor": ("text", "set, method, ρ0 or seed"),
    "importance": ("fraction", "importance of the factor alone; those of a group sum to 1"),
}
"""Column -> (kind, meaning); one row per factor, with another estimator's importance."""


def trials_columns(metric: Metric = ACCURACY) -> dict[str, tuple[str, str]]:
    """The columns of a table of trials that are compared by a metric, as in `TRIALS`.

    Args:
        metric: its values stand in place of the accuracies.
    """
    return _of_metric(TRIALS, metric)


def history_columns(metric: Metric = ACCURACY) -> dict[str, tuple[str, str]]:
    """The columns of a table of epochs with the values of a metric, as in `HISTORY`.

    Args:
        metric: its values stand in place of the accuracies.
    """
    return _of_metric(HISTORY, metric)


def _of_metric(
    columns: Mapping[str, tuple[str, str]], metric: Metric
) -> dict[str, tuple[str, str]]:
    names = {ACCURACY.column(split): metric.column(split) for split in ("validation", "test")}
    names |= {
        ACCURACY.column_at(point): metric.column_at(point)
        for point in ("latent", "proximal", "hard")
    }
    kind = "fraction" if (metric.least, metric.most) == (0, 1) else "number"
    return {
        names.get(name, name): (kind, of[1].replace(ACCURACY.label, metric.label))
        if name in names
        else of
        for name, of in columns.items()
    }


def axis_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of a sweep's further axes, in the table's order."""
    return [str(column) for column in frame.columns if str(column).startswith(AXIS_PREFIX)]


def empty(columns: Mapping[str, tuple[str, str]]) -> pd.DataFrame:
    """A table with the given columns and no rows.

    Args:
        columns: name -> (kind, meaning), such as `HISTORY`.
    """
    types = {"text": "object", "number": "float64", "fraction": "float64"}
    return pd.DataFrame({name: pd.Series(dtype=types[kind]) for name, (kind, _) in columns.items()})
