"""Curves over epochs: validation values, loss, distances from quantized weights, and flips."""

import math
from dataclasses import replace
from typing import Final

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.columns import AXIS_PREFIX
from analysis.figures.style import (
    label_of,
    panels,
    row_label,
    sets_of,
    setting_name,
    settings_of,
    shared_legend,
    whole_epochs,
)
from analysis.figures.training.epoch_lines import EpochLines
from analysis.metric import ACCURACY, Metric

_DECAY: Final = f"{AXIS_PREFIX}weight_decay"


def learning_curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> Figure:
    """Validation accuracy, or another metric, of the hard weights after each epoch.

    A line is the mean over the COMPLETE trials of a method at its selected rho0, and a band spans
    the lowest to the highest. There is a panel for each set, and a row for each setting. A dotted
    line marks the end of the first stage, where weights are hard-quantized.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.history_columns`.
        metric: what the trials are compared by.
    """
    column, label = metric.column_at("hard"), label_of("validation", metric)
    return _curves(selected, trials, history, metric, column, label, factor=metric.factor)


def loss_curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> Figure:
    """Mean training loss of each epoch. The layout is that of `learning_curves`."""
    return _curves(selected, trials, history, metric, "train_loss", "training loss")


def gap_curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> Figure:
    """Root mean square of w - P_Q(w*) after each epoch, on a logarithmic axis.

    The gap is 0, and not drawn, once w is in Q: in the second stage, and for BinaryConnect, where
    P = P_Q. The layout is that of `learning_curves`.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.HISTORY`.
        metric: what the trials are compared by.
    """
    label = "RMS of w − P_Q(w*)"
    figure = _curves(selected, trials, history, metric, "quantization_gap", label, positive=True)
    _make_logarithmic(figure)
    return figure


def flip_curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> Figure:
    """Share of the quantized weights that change level in each epoch, on a logarithmic axis.

    Epochs without a change are not drawn. The layout is that of `learning_curves`.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.HISTORY`, and ``flip_rate``.
        metric: what the trials are compared by.
    """
    figure = _curves(
        selected, trials, history, metric, "flip_rate", "flips (%)", factor=100, positive=True
    )
    _make_logarithmic(figure)
    return figure


def distance_curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> Figure:
    """Mean distance of the hard weights from the latent weights after each epoch.

    Epochs without a distance, such as those of the second stage, are not drawn. The layout is that
    of `learning_curves`.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.HISTORY`, and ``latent_distance``.
        metric: what the trials are compared by.
    """
    return _curves(
        selected, trials, history, metric, "latent_distance", "mean |w_b − w_r|", positive=True
    )


def decay_rows(selected: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The settings and sets in which a method has several values of the axis ``weight_decay``.

    Args:
        selected: result of `selection.select`.

    Returns:
        For each, its heading and the rows of these methods.
    """
    if _DECAY not in selected:
        return []
    found = []
    for key, part in settings_of(selected[selected[_DECAY] != ""]):
        for name, of_set in part.groupby("set", sort=False):
            several = of_set.groupby("method")[_DECAY].transform("nunique") > 1
            if several.any():
                heading = " · ".join(filter(None, (setting_name(key), str(name))))
                found.append((heading, of_set[several]))
    return found


def decay_figure(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric = ACCURACY,
) -> Figure:
    """The effect of weight decay, as in Figure 7 of "Training Quantized Nets".

    The first panel has the validation error (see `error_of`) with every weight decay. A further
    panel for each weight decay has the mean distance of the hard weights w_b from the latent
    weights w_r. There is a row for each item of `decay_rows`.

    Args:
        selected: result of `selection.select`, with several values of the axis ``weight_decay``.
        trials: the trials behind it.
        history: columns of `columns.history_columns`, and ``latent_distance``.
        metric: what the trials are compared by.
    """
    factor, offset = _of_error(metric)
    rows = decay_rows(selected)
    decays = sorted({value for _, part in rows for value in part[_DECAY]}, key=_number_of)
    figure, grid = panels(len(rows), 1 + len(decays), sharex="row")
    lines = EpochLines(selected, trials, history, metric)
    lines.emphasize(pd.concat([part for _, part in rows]), metric.column_at("hard"))
    for line, (heading, part) in zip(grid, rows, strict=True):
        lines.draw(line[0], part, metric.column_at("hard"), factor, offset=offset)
        line[0].set_ylabel(f"{heading}\n{label_of('validation', error_of(metric))}")
        for axes, decay in zip(line[1:], decays, strict=True):
            of_decay = part[part[_DECAY] == decay]
            lines.draw(axes, of_decay, "latent_distance", 1, positive=True)
            axes.set_title(f"mean |w_b − w_r|\nweight decay {decay}")
        highest = max(axes.get_ylim()[1] for axes in line[1:])
        for axes in line[1:]:
            axes.set_ylim(0, highest)
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        whole_epochs(axes)
    shared_legend(figure, grid.flat)
    return figure


def error_of(metric: Metric) -> Metric:
    """What `decay_figure` shows: the distance from the highest value, or else the metric."""
    return replace(metric, label="error") if _of_error(metric)[1] else metric


def _of_error(metric: Metric) -> tuple[float, float]:
    """Factor of a value and number added to it that give the printed error."""
    if metric.higher_is_better and metric.most is not None:
        return -metric.factor, metric.factor * metric.most
    return metric.factor, 0.0


def _number_of(label: str) -> tuple[float, str]:
    try:
        return float(label), label
    except ValueError:
        return math.inf, label


def _make_logarithmic(figure: Figure) -> None:
    for axes in figure.axes:
        axes.set_yscale("log")
        # Over less than a decade, all minor ticks would have labels, which touch.
        axes.yaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 5, 7)))


def _curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    metric: Metric,
    column: str,
    label: str,
    *,
    factor: float = 1.0,
    positive: bool = False,
) -> Figure:
    """Curves in the layout of `learning_curves`.

    Args:
        selected: see `learning_curves`.
        trials: see `learning_curves`.
        history: see `learning_curves`.
        metric: see `learning_curves`.
        column: column of the history to plot.
        label: label of the vertical axis.
        factor: values are multiplied by it.
        positive: whether values <= 0 are left out.
    """
    settings, sets = settings_of(selected), sets_of(selected)
    figure, grid = panels(max(len(settings), 1), len(sets), sharey="row", sharex="row")
    lines = EpochLines(selected, trials, history, metric)
    lines.emphasize(selected, column, positive=positive)
    for row, (key, part) in zip(grid, settings, strict=False):
        for axes, name in zip(row, sets, strict=True):
            of_set = part[part["set"].isin((name, ""))]
            lines.draw(axes, of_set, column, factor, positive=positive)
            axes.set_title(name)
        row[0].set_ylabel(row_label(key, label))
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        whole_epochs(axes)
    shared_legend(figure, grid.flat)
    return figure
