"""Curves over epochs: validation accuracy, loss, gap to the quantization set, and flips."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.columns import axis_columns
from analysis.figures.style import (
    DASHES,
    method_styles,
    panels,
    places_of_variants,
    sets_of,
    setting_name,
    settings_of,
    shared_legend,
    variant,
    whole_epochs,
)
from analysis.statistics.aggregate import completed


def learning_curves(selected: pd.DataFrame, trials: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Validation accuracy of the hard weights after each epoch.

    A line is the mean over the COMPLETE trials of a method at its selected rho0, and a band spans
    the lowest to the highest. There is a panel for each set, and a row for each setting. A dotted
    line marks the end of the first stage, where weights are hard-quantized.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.HISTORY`.
    """
    return _curves(
        selected, trials, history, "validation_accuracy_hard", 100, "validation accuracy (%)"
    )


def loss_curves(selected: pd.DataFrame, trials: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Mean training loss of each epoch. The layout is that of `learning_curves`."""
    return _curves(selected, trials, history, "train_loss", 1, "training loss")


def gap_curves(selected: pd.DataFrame, trials: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Root mean square of w - P_Q(w*) after each epoch, on a logarithmic axis.

    The gap is 0, and not drawn, once w is in Q: in the second stage, and for BinaryConnect, where
    P = P_Q. The layout is that of `learning_curves`.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.HISTORY`.
    """
    figure = _curves(
        selected, trials, history, "quantization_gap", 1, "RMS of w − P_Q(w*)", positive=True
    )
    _make_logarithmic(figure)
    return figure


def flip_curves(selected: pd.DataFrame, trials: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """Share of the quantized weights that change level in each epoch, on a logarithmic axis.

    Epochs without a change are not drawn. The layout is that of `learning_curves`.

    Args:
        selected: result of `selection.select`.
        trials: the trials behind it.
        history: columns of `columns.HISTORY`, and ``flip_rate``.
    """
    figure = _curves(selected, trials, history, "flip_rate", 100, "flips (%)", positive=True)
    _make_logarithmic(figure)
    return figure


def _make_logarithmic(figure: Figure) -> None:
    for axes in figure.axes:
        axes.set_yscale("log")
        # Over less than a decade, all minor ticks would have labels, which touch.
        axes.yaxis.set_minor_locator(LogLocator(subs=(1.5, 2, 3, 5, 7)))


def _curves(
    selected: pd.DataFrame,
    trials: pd.DataFrame,
    history: pd.DataFrame,
    column: str,
    factor: float,
    label: str,
    *,
    positive: bool = False,
) -> Figure:
    """Curves in the layout of `learning_curves`.

    Args:
        selected: see `learning_curves`.
        trials: see `learning_curves`.
        history: see `learning_curves`.
        column: column of the history to plot.
        factor: values are multiplied by it.
        label: label of the vertical axis.
        positive: whether values <= 0 are left out.
    """
    settings, sets = settings_of(selected), sets_of(selected)
    figure, grid = panels(max(len(settings), 1), len(sets), sharey="row", sharex="row")
    styles, further = method_styles(trials["method"]), axis_columns(selected)
    places = places_of_variants(selected, styles)
    configuration = completed(trials).set_index("trial_id")["configuration_id"]
    epochs = history.assign(configuration_id=history["trial_id"].map(configuration))
    epochs = epochs.dropna(subset="configuration_id")
    by_configuration = dict(iter(epochs.groupby("configuration_id")))
    for row, (key, part) in zip(grid, settings, strict=False):
        for axes, name in zip(row, sets, strict=True):
            boundaries = set()
            for _, chosen in part[part["set"].isin((name, ""))].iterrows():
                records = by_configuration.get(chosen["configuration_id"])
                if records is None:
                    continue
                if "batchnorm" in set(records["stage"]):
                    boundaries.add(records.loc[records["stage"] == "quantize", "epoch"].max())
                values = records if not positive else records[records[column] > 0]
                curve = factor * values.groupby("epoch")[column].agg(["mean", "min", "max"])
                if curve.empty:
                    continue
                colour, _ = styles[chosen["method"]]
                name_of_line = variant(chosen, further)
                dash = DASHES[places[name_of_line] % len(DASHES)]
                axes.plot(curve["mean"], color=colour, label=name_of_line, linestyle=(0, dash))
                axes.fill_between(
                    curve.index, curve["min"], curve["max"], color=colour, alpha=0.2, linewidth=0
                )
            for boundary in boundaries:
                axes.axvline(boundary, color="#555555", linestyle=":", linewidth=0.8)
            axes.set_title(name)
            axes.grid()
        row[0].set_ylabel(f"{setting_name(key)}\n{label}")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        whole_epochs(axes)
    shared_legend(figure, grid.flat)
    return figure
