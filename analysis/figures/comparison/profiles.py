"""Performance profiles: the share of all runs over several tasks that are above a score."""

from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.style import DASHES, drawable_labels, method_styles, panels, shared_legend

_WIDTH, _HEIGHT = 4.2, 2.6


def profile_figure(profiles: pd.DataFrame, methods: Iterable[str] = ()) -> Figure:
    """Plot the performance profile of each method, with its interval as a band.

    Args:
        profiles: result of `across_settings.AcrossSettings.profiles`.
        methods: all methods of the sweep, which determine the colours.
    """
    figure, grid = panels(1, 1)
    figure.set_size_inches(_WIDTH, _HEIGHT)
    (axes,) = grid.flat
    styles = method_styles([*methods, *profiles["method"]])
    labels = drawable_labels(profiles["variant"])
    used: dict[str, int] = {}
    for name, profile in profiles.groupby("variant", sort=False):
        colour, _ = styles[profile["method"].iloc[0]]
        place = used.setdefault(colour, 0)
        used[colour] += 1
        scores = 100 * profile["threshold"]
        axes.plot(
            scores,
            100 * profile["share"],
            color=colour,
            linestyle=(0, DASHES[place % len(DASHES)]),
            label=labels[str(name)],
        )
        axes.fill_between(
            scores,
            100 * profile["share_low"],
            100 * profile["share_high"],
            color=colour,
            alpha=0.2,
            linewidth=0,
        )
    axes.set_xlabel("score (%)")
    axes.set_ylabel("runs above it (%)")
    axes.grid()
    shared_legend(figure, [axes])
    return figure
