"""Expected test accuracy, or another metric, against the number of configurations tried."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from analysis.columns import axis_columns
from analysis.figures.emphasis import draw_others, emphasis_of
from analysis.figures.style import (
    DASHES,
    draw_bands,
    label_of,
    labels_that_fit,
    method_styles,
    panels,
    places_of_variants,
    row_label,
    sets_of,
    settings_of,
    shared_legend,
)
from analysis.labels import variant
from analysis.metric import ACCURACY, Metric

_STEPS = (1, 2, 3, 5)
"""First digits of the ticks."""
_FEW = 12
"""Up to this number of configurations, each has a marker."""


def tuning_curves(
    costs: pd.DataFrame, methods: Iterable[str] = (), metric: Metric = ACCURACY
) -> Figure:
    """Plot the expected test value of each method against the number of tries.

    Bands are 95 % intervals over seeds. A method with a single configuration is a dashed line; one
    in full precision stands in all panels of its setting. Of more variants than `emphasis.MOST`,
    the best are in colour and the others are grey.

    Args:
        costs: result of `tuning_cost.curves.tuning_cost`, with values.
        methods: all methods of the sweep, which determine the colours.
        metric: what the trials are compared by.
    """
    settings, sets = settings_of(costs), sets_of(costs)
    figure, grid = panels(len(settings), len(sets), sharey="row", sharex="row")
    styles = method_styles([*methods, *costs["method"].unique()])
    further = axis_columns(costs)
    emphasis = emphasis_of(costs, metric)
    places = places_of_variants(emphasis.split(costs)[0], styles)
    for row, (key, part) in zip(grid, settings, strict=True):
        most = int(part["tries"].max())
        ticks = _ticks(most)
        for axes, name in zip(row, sets, strict=True):
            shown, others = emphasis.split(part[part["set"].isin((name, ""))])
            bands = []
            for _, curve in shown.groupby(["set", "method", *further], sort=False):
                label = variant(curve.iloc[0], further)
                colour, marker = styles[curve["method"].iloc[0]]
                means = metric.factor * curve["test_mean"]
                if len(curve) == 1:
                    axes.axhline(means.iloc[0], color=colour, linestyle=(0, (4, 2)), label=label)
                    continue
                axes.plot(
                    curve["tries"],
                    means,
                    color=colour,
                    marker=marker if len(curve) <= _FEW else "",
                    markersize=3,
                    linestyle=(0, DASHES[places[label] % len(DASHES)]),
                    label=label,
                )
                low, high = (metric.factor * curve[end] for end in ("low", "high"))
                bands.append((curve["tries"], low, high, colour))
            draw_bands(axes, bands)
            others = others.assign(tries=others["tries"].where(others["configurations"] > 1))
            draw_others(axes, others, emphasis, ("tries", "test_mean"), (1, most), metric.factor)
            axes.set_title(name)
            axes.set_xscale("log")
            axes.set_xticks(ticks, labels_that_fit(ticks, [str(tick) for tick in ticks]))
            axes.minorticks_off()
            axes.grid()
        row[0].set_ylabel(row_label(key, label_of("test", metric)))
    for axes in grid[-1]:
        axes.set_xlabel("configurations tried")
    shared_legend(figure, grid.flat)
    return figure


def _ticks(most: int) -> list[int]:
    """Round numbers up to the largest number of tries."""
    steps = [step * 10**power for power in range(len(str(most))) for step in _STEPS]
    return [step for step in steps if step <= most] if most > 1 else [1]
