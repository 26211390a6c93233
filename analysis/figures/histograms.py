"""Distribution of the quantized weights during training."""

import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.style import SHADES, panels, sets_of, whole_epochs
from analysis.labels import variant


def histogram_figure(selected: pd.DataFrame, histograms: pd.DataFrame) -> Figure:
    """Plot the distribution of the weights w = P(w*) over the epochs of the first stage.

    There is a panel for each method and set, with epochs on the horizontal and weights on the
    vertical axis. Brighter shades are larger fractions of the weights, on a logarithmic scale.

    Args:
        selected: rows of `selection.select` of one dataset, model and regime.
        histograms: columns of `columns.HISTOGRAMS`.
    """
    part = selected[selected["configuration_id"].isin(histograms["configuration_id"])]
    sets, further = sets_of(part), axis_columns(part)
    rows = list(part.groupby(["method", *further], sort=False))
    figure, grid = panels(max(len(rows), 1), len(sets), sharex=True, sharey="col")
    by_configuration = dict(iter(histograms.groupby("configuration_id")))
    shown = None
    for line, (_, of_method) in zip(grid, rows, strict=False):
        for axes, name in zip(line, sets, strict=True):
            axes.set_title(name)
            chosen = of_method[of_method["set"] == name]
            if chosen.empty:
                axes.set_axis_off()
                continue
            counts = by_configuration[chosen["configuration_id"].iloc[0]].pivot(
                index="weight", columns="epoch", values="fraction"
            )
            if counts.shape[1] == 1:  # a single column of the mesh has no width
                epoch = float(counts.columns.to_numpy()[0])
                (fractions,) = counts.T.to_numpy()
                counts = pd.DataFrame(
                    {epoch - 0.25: fractions, epoch + 0.25: fractions}, index=counts.index
                )
            shown = axes.pcolormesh(
                counts.columns,
                counts.index,
                counts.clip(lower=1e-4),
                cmap=SHADES,
                norm=LogNorm(1e-4, 1),
                shading="nearest",
                rasterized=True,
            )
        line[0].set_ylabel(f"{variant(of_method.iloc[0], further)}\nw")
    for axes in grid[-1]:
        axes.set_xlabel("epoch")
        whole_epochs(axes)
    if shown is not None:
        figure.colorbar(shown, ax=list(grid.flat), label="fraction of the weights", shrink=0.5)
    return figure
